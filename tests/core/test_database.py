"""The database of a home: made by whoever comes first, however many come at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa

from synapse_core.database import open_database


def test_a_database_is_made_by_many_at_the_same_moment(tmp_path: Path):
    failures: list[BaseException] = []

    def use(home: Path, together: threading.Barrier) -> None:
        together.wait()
        try:
            engine = open_database(home)
            with engine.begin() as connection:
                assert connection.execute(sa.text("SELECT count(*) FROM runs")).scalar_one() == 0
                assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"
            engine.dispose()
        except sa.exc.SQLAlchemyError as error:
            failures.append(error)

    # Without waiting for a lock at the change to WAL, one in forty homes failed here.
    for number in range(100):
        together = threading.Barrier(6)
        users = [threading.Thread(target=use, args=(tmp_path / f"home-{number}", together)) for _ in range(6)]
        for user in users:
            user.start()
        for user in users:
            user.join()

    assert failures == []


def test_a_home_of_an_earlier_version_gets_the_columns_that_came_later(tmp_path: Path):
    engine = open_database(tmp_path)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN principal"))
    engine.dispose()

    with ThreadPoolExecutor(4) as openers:
        engines = list(openers.map(lambda _: open_database(tmp_path), range(4)))

    assert "principal" in {column["name"] for column in sa.inspect(engines[0]).get_columns("runs")}
    for each in engines:
        each.dispose()
