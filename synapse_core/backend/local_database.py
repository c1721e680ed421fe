"""Transactions of a LocalBackend: short, begun anew where another writer was faster, errors made ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar

import sqlalchemy as sa

from synapse_core.backend.tables import metadata
from synapse_core.database import database_address, open_database
from synapse_core.errors import BackendError, BackendRejected, BackendUnavailable

T = TypeVar("T")
_MOST_TRIES = 20
_WAIT_SECONDS = 10.0
# PostgreSQL ends one of two transactions that wait for each other, or that it cannot put into an order.
_GIVEN_WAY = ("40001", "40P01")


class LocalDatabase:
    """The database, opened when it is first used. Safe from several threads, shared by several processes."""

    def __init__(self, home: Path, url: str | None) -> None:
        self._home = home
        self._url = url
        self._engine: sa.Engine | None = None
        self._opening = Lock()

    @property
    def address(self) -> str:
        """Where it is: a path, or a URL without its password and options."""
        with _translated("the address of the database"):
            address = database_address(self._home, self._url)
        if address.get_backend_name() == "sqlite":
            return address.database or ":memory:"
        return address.set(query={}).render_as_string(hide_password=True)

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        with _translated(self.address), self._opened().connect() as connection:
            return work(connection)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Carry out `work` in one transaction, and from its start again where another writer was faster.

        A unique or foreign key stands against what `work` saw only if somebody has committed since it looked,
        so it looks again. It must not change anything outside of the database.
        """
        with _translated(self.address):
            for _ in range(_MOST_TRIES - 1):
                try:
                    return self._try(work)
                except (sa.exc.IntegrityError, sa.exc.OperationalError) as error:
                    if not _was_overtaken(error):
                        raise
            return self._try(work)

    def close(self) -> None:
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _try(self, work: Callable[[sa.Connection], T]) -> T:
        engine = self._opened()
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # A transaction that reads first and writes then is refused at once, not made to wait.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            return work(connection)

    def _opened(self) -> sa.Engine:
        with self._opening:
            if self._engine is None:
                self._engine = open_database(
                    self._home, url=self._url, tables=metadata, wait_seconds=_WAIT_SECONDS
                )
            return self._engine


def _was_overtaken(error: sa.exc.DBAPIError) -> bool:
    if isinstance(error, sa.exc.IntegrityError):
        # Other constraints than these fail however often they are tried; PostgreSQL tells which it was.
        state = getattr(error.orig, "sqlstate", None)
        return state in (None, "23503", "23505")
    return getattr(error.orig, "sqlstate", None) in _GIVEN_WAY


@contextmanager
def _translated(address: str) -> Iterator[None]:
    """Make backend errors of the database's. Their own texts are kept without statements and values."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise BackendUnavailable(
            f"The database {address} did not carry out a call: {_words(error)}",
            hint="Check that the database is up and has room, then call again.",
        ) from error
    except sa.exc.IntegrityError as error:
        raise BackendError(f"The database {address} refused a change: {_words(error)}") from error
    except sa.exc.DataError as error:
        raise BackendRejected(f"The database {address} cannot hold a value: {_words(error)}") from error
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise BackendError(
            f"The database cannot be opened: {error}",
            hint="Check SYNAPSE_DATABASE_URL. For PostgreSQL: pip install 'synapse-mcp[postgres]'.",
        ) from error
    except OSError as error:
        raise BackendUnavailable(f"The database {address} cannot be opened: {error}") from error
    except sa.exc.StatementError as error:
        if isinstance(error, sa.exc.DBAPIError):
            raise BackendError(f"The database {address} failed: {_words(error)}") from error
        raise BackendRejected(f"A value cannot be kept: {_words(error)}") from error


def _words(error: sa.exc.SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, sa.exc.StatementError) else error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
