"""The one database of a home: its engine and the table of runs. Nothing else opens a database.

SQLite in WAL mode by default; any SQLAlchemy URL by SYNAPSE_DATABASE_URL. Several processes share it, so
transactions are short. The backend keeps its tables in the same database.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

_LOCKED_SECONDS = 10
_CONNECT_SECONDS = 2
# Any number that nobody else takes for a lock in the same PostgreSQL database.
_LOCK_OF_TABLES = 5_396_733_001
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
    # Who submitted it, where a server tells its users apart. Later than the others: homes may lack it.
    sa.Column("principal", sa.String(200), nullable=True),
    sa.Index("runs_by_age", "created", "run_id"),
    sa.Index("runs_by_state", "state"),
)


def open_database(
    home: Path, *, url: str | None = None, tables: sa.MetaData = metadata, wait_seconds: float = 30
) -> sa.Engine:
    """Return the engine of a home's database, its tables made where they are missing.

    url: another database than the home's own. wait_seconds: how long a call waits for a free connection.
    An SQLite file is readable for its owner only: a backend keeps the secrets of storages in it.
    """
    address = database_address(home, url)
    engine = sa.create_engine(
        address,
        pool_size=4,
        max_overflow=12,
        pool_timeout=wait_seconds,
        # Values, secrets among them, would stand in the text of errors.
        hide_parameters=True,
        # A server can have been restarted since the last call.
        pool_pre_ping=address.get_backend_name() != "sqlite",
        connect_args=_connect_arguments(address),
    )
    if engine.dialect.name == "sqlite":
        if address.database and address.database != ":memory:":
            _make_private(Path(address.database))
        sa.event.listen(engine, "connect", _set_pragmas)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # IF NOT EXISTS does not keep two that make the same table at once from failing there.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_OF_TABLES)))
        # Servers of one home may start at the same moment: asking first and making then would race.
        for table in tables.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
        if runs in tables.sorted_tables:
            _add_missing_columns(connection, runs)
    return engine


def database_address(home: Path, url: str | None = None) -> sa.URL:
    """Return where the database is: at the URL given, at SYNAPSE_DATABASE_URL, or a file in the home."""
    url = url or os.environ.get("SYNAPSE_DATABASE_URL")
    if not url:
        return sa.URL.create("sqlite", database=str(home / "synapse.db"))
    address = sa.make_url(url)
    if address.drivername in ("postgres", "postgresql"):
        # Which driver a bare name means changed between versions of SQLAlchemy.
        address = address.set(drivername="postgresql+psycopg")
    return address


def _add_missing_columns(connection: sa.Connection, table: sa.Table) -> None:
    """Give a table of an earlier version the columns that came later, all of which may be empty."""
    for column in table.columns:
        if column.name not in _columns(connection, table):
            kind = column.type.compile(connection.dialect)
            try:
                connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"))
            except sa.exc.OperationalError:
                # Another server of this home can have been faster.
                if column.name not in _columns(connection, table):
                    raise


def _columns(connection: sa.Connection, table: sa.Table) -> set[str]:
    return {column["name"] for column in sa.inspect(connection).get_columns(table.name)}


def _connect_arguments(address: sa.URL) -> dict[str, object]:
    if address.drivername == "postgresql+psycopg" and "connect_timeout" not in address.query:
        return {"connect_timeout": _CONNECT_SECONDS}
    return {}


def _make_private(path: Path) -> None:
    """Make an SQLite file that only its owner can read, or make one so that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Made beside and linked: to open and close the file itself would end the locks that another thread
        # of this process holds on it.
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
        Path(beside).unlink()
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        # Another server can have just removed the last two; a file of another user is his to guard.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    # Readers never wait for the writer; a lock of another process is waited for.
    cursor.execute(f"PRAGMA busy_timeout={_LOCKED_SECONDS * 1000}")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
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
