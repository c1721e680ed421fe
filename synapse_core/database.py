"""The one database of a home: its engine and its tables. Nothing else opens a database.

SQLite in WAL mode by default; any SQLAlchemy URL by SYNAPSE_DATABASE_URL. Several processes share it, so
transactions are short.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

_LOCKED_SECONDS = 10
metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("run_key", sa.String(200), unique=True, nullable=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("plugin", sa.String(100), nullable=False),
    sa.Column("action", sa.String(200), nullable=False),
    sa.Column("mode", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("submitter", sa.LargeBinary, nullable=False),
    # The fold of the first `events_read` bytes of events.jsonl.
    sa.Column("snapshot", sa.LargeBinary, nullable=False),
    sa.Column("events_read", sa.BigInteger, nullable=False),
    sa.Index("runs_by_age", "created", "run_id"),
    sa.Index("runs_by_state", "state"),
)


def open_database(home: Path) -> sa.Engine:
    """Return the engine of a home's database, its tables made where they are missing."""
    url = os.environ.get("SYNAPSE_DATABASE_URL")
    if url is None:
        home.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{home / 'synapse.db'}"
    engine = sa.create_engine(url, pool_size=4, max_overflow=12)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_pragmas)
    with engine.begin() as connection:
        # Servers of one home may start at the same moment: asking first and making then would race.
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    # Readers never wait for the writer; a lock of another process is waited for.
    cursor.execute(f"PRAGMA busy_timeout={_LOCKED_SECONDS * 1000}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    _use_wal(cursor)
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Put the file into WAL mode, which it then stays in.

    SQLite does not wait for a lock here, whatever busy_timeout says: servers that make a home's database at
    the same moment get "database is locked" at once.
    """
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
