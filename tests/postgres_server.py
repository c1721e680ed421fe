"""A PostgreSQL server of the tests' own, on a socket in a temporary folder. It is gone when they are."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_START_SECONDS = 60
# Nothing here needs to outlive a power cut.
_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "jit=off")


class NoPostgres(Exception):
    """A server cannot run here; the text says why."""


# Every row goes and ids begin with 1 again. Foreign keys are not asked meanwhile, so that no order is needed.
_EMPTY = """
DO $$ DECLARE one record; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE 'DELETE FROM ' || quote_ident(one.name);
    END LOOP;
    FOR one IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public' LOOP
        PERFORM setval(quote_ident(one.name), 1, false);
    END LOOP;
END $$
"""


class PostgresServer:
    """One running server."""

    def __init__(self, socket_folder: Path) -> None:
        self._socket_folder = socket_folder
        self._numbers = count(1)
        self._shared: str | None = None

    def new_database(self) -> str:
        """Return the URL of a new database. It is 8 MB of files: only for who needs one without tables."""
        name = f"test_{next(self._numbers)}"
        self._execute(self._url("postgres"), f"CREATE DATABASE {name}")
        return self._url(name)

    def empty_database(self) -> str:
        """Return the URL of the database that the tests share. What the last one left is deleted."""
        if self._shared is None:
            self._shared = self.new_database()
        self._execute(self._shared, _EMPTY)
        return self._shared

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._socket_folder}"

    def _execute(self, url: str, statement: str) -> None:
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server and stop it afterwards. Raises NoPostgres where none can run."""
    # Not pytest's folder: a server never runs as root, and nobody else can enter that one. The name is short
    # because a socket's path has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="synapse-pg-"))
    try:
        owner = _unprivileged_owner(folder)
        programs = _programs(folder, owner)
        data = folder / "data"
        settings = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories={folder}"))
        _run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", **owner)
        start = ["-D", data, "-w", "-t", _START_SECONDS, "-l", folder / "log", "-o", settings, "start"]
        _run(programs / "pg_ctl", *start, **owner)
        try:
            yield PostgresServer(folder)
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", **owner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_owner(folder: Path) -> dict[str, Any]:
    """Give the folder to `nobody` where the tests run as root. Returns who runs the programs."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "nobody")
    return {"user": "nobody"}


def _programs(folder: Path, owner: dict[str, Any]) -> Path:
    """Return the folder of the server's programs: those of the package pgserver, else the system's."""
    package = importlib.util.find_spec("pgserver")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        inside = Path("pgserver/pginstall/bin")
        if _can_run(root.parent / inside, owner):
            return root.parent / inside
        # Where the environment is inside of a home that `nobody` cannot enter.
        for part in ("pgserver", "pgserver.libs"):
            if (root.parent / part).is_dir():
                shutil.copytree(root.parent / part, folder / "programs" / part)
        if _can_run(folder / "programs" / inside, owner):
            return folder / "programs" / inside
    for system in (shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        if system is not None and _can_run(Path(system).resolve().parent, owner):
            return Path(system).resolve().parent
    raise NoPostgres("neither the package pgserver nor a PostgreSQL of the system can be run here")


def _can_run(programs: Path, owner: dict[str, Any]) -> bool:
    try:
        for name in ("initdb", "pg_ctl", "postgres"):
            _run(programs / name, "--version", **owner)
    except NoPostgres:
        return False
    return True


def _run(program: Path, *arguments: Any, **options: Any) -> None:
    # A file, not a pipe: the server that pg_ctl starts would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                [program, *map(str, arguments)],
                check=True,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=2 * _START_SECONDS,
                **options,
            )
        except (OSError, subprocess.SubprocessError) as error:
            output.seek(0)
            raise NoPostgres(f"{error}: {output.read().decode(errors='replace')[-500:]}") from error
