"""What only a LocalBackend has: a database of the home or another one, processes that share it, crashes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from annotation_begun import Annotation, begin_annotation
from postgres_server import PostgresServer

from synapse_core.backend import tables
from synapse_core.backend.local import LocalBackend
from synapse_core.database import open_database
from synapse_core.errors import BackendError, BackendUnavailable, RecordNotFound
from synapse_core.runs.store import RunStore


@pytest.fixture
def local(home: Path, database_url: str | None) -> Iterator[LocalBackend]:
    opened = LocalBackend(home, database_url=database_url)
    yield opened
    opened.close()


def run_child(code: str, home: Path, url: str | None, *arguments: str) -> subprocess.Popen[str]:
    """Start a process with `backend`, a LocalBackend of the same home and database."""
    begin = (
        "import sys\nfrom pathlib import Path\nfrom synapse_core.backend import *\n"
        "from synapse_core.backend.local import LocalBackend\n"
        "backend = LocalBackend(Path(sys.argv[1]), database_url=sys.argv[2] or None)\n"
    )
    command = [sys.executable, "-c", begin + code, str(home), url or "", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_nothing_is_touched_before_the_first_call(home: Path):
    LocalBackend(home).close()

    assert not home.exists()


def test_the_records_are_there_for_the_next_process(local: LocalBackend, home: Path, database_url, tmp_path):
    (tmp_path / "best.pt").write_bytes(b"weights")
    made = local.create_model("detector", tmp_path / "best.pt")
    local.close()

    again = LocalBackend(home, database_url=database_url)

    assert list(again.list_models()) == [made]
    assert again.download_file(made.file, tmp_path / "back").read_bytes() == b"weights"
    again.close()
    # What was closed opens again when it is used.
    assert local.get_model(made.id) == made


def test_runs_and_records_share_the_database_of_the_environment(
    home: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch
):
    if database_url is not None:
        monkeypatch.setenv("SYNAPSE_DATABASE_URL", database_url)
    backend, store = LocalBackend(home), RunStore(home)
    backend.create_job("run-1")
    assert store.recent_ids() == []

    engine = open_database(home, url=database_url)
    assert {"runs", "jobs", "data_units"} <= set(sa.inspect(engine).get_table_names())
    assert (home / "synapse.db").exists() == (database_url is None)
    for opened in (engine.dispose, backend.close, store.close):
        opened()


def test_nobody_else_can_read_the_database(home: Path, tmp_path: Path):
    # As an older version may have left it.
    home.mkdir()
    (home / "synapse.db").touch(mode=0o644)
    backend = LocalBackend(home)
    backend.create_storage("Secret", "local", {"location": str(tmp_path / "there")})

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in home.iterdir()}

    assert {"synapse.db", "synapse.db-wal"} <= set(modes)
    assert set(modes.values()) == {"0o600"}
    backend.close()


def test_secrets_are_not_in_the_errors_of_a_database(home: Path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        backend = LocalBackend(home, database_url=f"postgresql://me:hidden@127.0.0.1:{port}/synapse")
        began = time.monotonic()

        with pytest.raises(BackendUnavailable) as caught:
            backend.list_models()

    assert time.monotonic() - began < 3
    assert caught.value.retryable
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize("url", ["nonsense://x/y", "no address at all", "mysql+nodriver://x/y"])
def test_an_address_that_no_driver_takes_is_a_backend_error(home: Path, url: str):
    with pytest.raises(BackendError, match="cannot be opened"):
        LocalBackend(home, database_url=url).list_models()


def test_a_file_that_is_no_database_is_a_backend_error(home: Path):
    home.mkdir()
    (home / "synapse.db").write_bytes(b"This is a text. " * 100)

    with pytest.raises(BackendError, match=r"synapse\.db"):
        LocalBackend(home).list_models()


# Several processes

MAKE_UNITS = """
for line in sys.stdin:
    collection, start = map(int, line.split())
    file = backend.get_data_unit(1).files["image"]
    for begin in range(start, start + 200, 20):
        new = [NewDataUnit(key=str(n), files={"image": file}) for n in range(begin, begin + 20)]
        backend.create_data_units(collection, new)
    number = backend.create_model("detector", Path(sys.argv[3])).version
    print(number)
"""


def test_two_processes_make_each_key_once(local: LocalBackend, home: Path, database_url, tmp_path: Path):
    annotation = begin_annotation(local, tmp_path)
    annotation.units("first")
    models = [tmp_path / "one.pt", tmp_path / "two.pt"]
    for model in models:
        model.write_text(model.name)
    children = [run_child(MAKE_UNITS, home, database_url, str(model)) for model in models]

    for child, start in zip(children, (0, 100), strict=True):
        assert child.stdin is not None
        child.stdin.write(f"{annotation.collection.id} {start}\n")
        child.stdin.flush()
    ended = [child.communicate(timeout=60) for child in children]

    assert [error for _, error in ended] == ["", ""]
    assert sorted(output.strip() for output, _ in ended) == ["1", "2"]
    assert sorted(unit.key for unit in local.list_data_units()) == sorted([*map(str, range(300)), "first"])


def test_a_database_of_postgresql_is_made_by_many_at_the_same_moment(home: Path, postgresql: PostgresServer):
    database_url = postgresql.new_database()
    together = threading.Barrier(6)

    def use(_number: int) -> str:
        backend = LocalBackend(home, database_url=database_url)
        together.wait(30)
        try:
            return str(backend.check()["kind"])
        finally:
            backend.close()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(use, range(6))) == ["local"] * 6


# Crashes

CRASH = """
import os
import sqlalchemy

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
def crash(connection, cursor, statement, *rest):
    if statement.startswith(sys.argv[4]):
        os._exit(9)

backend.{call}
"""


@pytest.mark.parametrize(
    ("call", "statement"),
    [
        ("create_data_file", "INSERT INTO data_files"),
        ("create_model", "INSERT INTO models"),
        ("create_plugin_release", "INSERT INTO plugin_releases"),
    ],
)
def test_a_crash_between_a_file_and_its_record_leaves_no_record(
    home: Path, tmp_path: Path, call: str, statement: str
):
    path = tmp_path / "content"
    path.write_bytes(b"content")
    before = {"create_model": ("detector",), "create_plugin_release": ("yolo", "1")}.get(call, ())
    options = {"config": {}} if call == "create_plugin_release" else {}
    code = CRASH.format(call=f"{call}(*{before!r}, Path(sys.argv[3]), **{options!r})")
    child = run_child(code, home, None, str(path), statement)
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 9

    backend = LocalBackend(home)

    assert backend.list_models().count == backend.list_plugin_releases().count == 0
    # The file is there, known to nobody; the call that is repeated takes it.
    (orphan,) = [name for name, _ in backend.open_storage().list()]
    made = getattr(backend, call)(*before, path, **options)
    assert made.file.path == orphan
    assert backend.download_file(made.file, tmp_path / "back").read_bytes() == b"content"
    backend.close()


def test_a_crash_while_a_model_is_deleted_leaves_no_model_without_its_file(home: Path, tmp_path: Path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")
    backend = LocalBackend(home)
    made = backend.create_model("detector", path)
    child = run_child(CRASH.format(call=f"delete_model({made.id})"), home, None, "", "DELETE FROM models")
    child.communicate(timeout=60)
    assert child.returncode == 9

    assert backend.download_file(backend.get_model(made.id).file, tmp_path / "back").is_file()
    backend.close()


def test_a_batch_is_made_whole_or_not_at_all(local: LocalBackend, home: Path, database_url, tmp_path: Path):
    annotation = begin_annotation(local, tmp_path)
    annotation.units("first")
    call = (
        f"create_data_units({annotation.collection.id}, [NewDataUnit(key=str(n), groups=('g',), "
        "files=backend.get_data_unit(1).files) for n in range(200)])"
    )

    child = run_child(CRASH.format(call=call), home, database_url, "", "INSERT INTO data_unit_groups")
    child.communicate(timeout=60)

    assert child.returncode == 9
    assert [unit.key for unit in local.list_data_units()] == ["first"]
    assert len(annotation.units(*map(str, range(200)))) == 200


def test_a_version_that_cannot_be_frozen_whole_is_not_there(local: LocalBackend, tmp_path: Path):
    annotation = begin_annotation(local, tmp_path)
    (task,) = annotation.tasks("one")
    one = annotation.submit(task, {}).id

    with pytest.raises(RecordNotFound):
        local.create_ground_truth_version(
            "Cars", "1", project=annotation.project.id, splits={"train": [one], "test": [one + 1]}
        )

    assert local.list_ground_truths().count == local.list_ground_truth_versions().count == 0


# Size


def test_two_hundred_units_are_one_statement_a_table(local: LocalBackend, tmp_path: Path):
    annotation = begin_annotation(local, tmp_path)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement.split(" (")[0])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        annotation.units(*map(str, range(200)))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    made = [statement for statement in statements if statement.startswith("INSERT")]
    assert made == ["INSERT INTO data_units", "INSERT INTO data_unit_files"]


def test_ten_thousand_assignments_are_read_in_constant_memory(
    local: LocalBackend, home: Path, database_url: str | None, tmp_path: Path
):
    annotation = begin_annotation(local, tmp_path)
    data = {"text": "x" * 1000}
    _fill(open_database(home, url=database_url, tables=tables.metadata), annotation, 10_000, data)
    reading = iter(local.list_assignments({"project": annotation.project.id}))
    assert next(reading).data == data

    tracemalloc.start()
    try:
        count = sum(1 for _ in reading)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 9_999
    # They hold 10 MB of text alone; a page of them some 300 KB.
    assert peak < 2_000_000


def _fill(engine: sa.Engine, annotation: Annotation, count: int, data: dict[str, str]) -> None:
    """Make units with tasks and assignments inside of the database: by calls it would take a minute."""
    numbers = sa.select(sa.literal(1).label("n")).cte(recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < count))
    n, project = numbers.c.n, sa.literal(annotation.project.id)
    status, content = sa.literal("submitted"), sa.literal(data, tables.Json())
    rows: dict[sa.Table, dict[str, sa.ColumnElement[object]]] = {
        tables.data_units: {
            "data_collection": sa.literal(annotation.collection.id),
            "key": sa.cast(n, sa.String(20)),
            "files": sa.literal({"image": annotation.file.file}, tables.Json()),
            "meta": sa.literal({}, tables.Json()),
        },
        tables.tasks: {"project": project, "data_unit": n, "status": status, "data": content},
        tables.assignments: {
            "project": project,
            "task": n,
            "data_unit": n,
            "status": status,
            "data": content,
        },
    }
    with engine.begin() as connection:
        for table, columns in rows.items():
            connection.execute(sa.insert(table).from_select(list(columns), sa.select(*columns.values())))
    engine.dispose()
