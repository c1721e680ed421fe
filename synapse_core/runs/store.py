"""The rows of the runs: one a run, a fold of its events that can be made anew from its folder."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError

from synapse_core.database import open_database
from synapse_core.database import runs as table
from synapse_core.decoding import decoded
from synapse_core.enums import RunState
from synapse_core.errors import DiskFull
from synapse_core.processes import ProcessId
from synapse_core.runs.run import Run, RunRow

# Made once: to build such a statement takes three times as long as to carry it out.
_INSERT = sa.insert(table)
_GET = sa.select(table).where(table.c.run_id == sa.bindparam("run_id"))
_SAVE = sa.update(table).where(
    table.c.run_id == sa.bindparam("saved_id"), table.c.events_read <= sa.bindparam("saved_read")
)


class RunStore:
    """Reads and writes rows. Every call is one short transaction."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._engine: sa.Engine | None = None
        self._opening = Lock()

    def insert(self, run: Run, run_key: str | None, fingerprint: str, submitter: ProcessId) -> RunRow | None:
        """Add a run. Returns None, or the row that bears the same run_key already: then nothing was added."""
        values = {
            "run_id": run.run_id,
            "run_key": run_key,
            "fingerprint": fingerprint,
            "plugin": run.plugin,
            "action": run.action,
            "mode": run.mode,
            "created": run.created.timestamp(),
            "submitter": msgspec.json.encode(submitter),
            "state": run.state.value,
            "snapshot": msgspec.json.encode(run),
            "events_read": 0,
            "principal": run.principal,
        }
        try:
            with self._connect() as connection:
                connection.execute(_INSERT, values)
            return None
        except OperationalError as error:
            if _is_full(error):
                raise DiskFull(str(self._home), error.orig) from error
            raise
        except IntegrityError:
            if run_key is None:
                raise
            return self._row(sa.select(table).where(table.c.run_key == run_key))

    def get(self, run_id: str) -> RunRow | None:
        return self._row(_GET, {"run_id": run_id})

    def by_key(self, run_key: str) -> RunRow | None:
        return self._row(sa.select(table).where(table.c.run_key == run_key))

    def save(self, row: RunRow) -> RunRow:
        """Store a later fold; one that another process read further stays.

        On a full disk nothing is stored: the fold is made again from the folder whenever it is needed.
        """
        run = row.run
        values = {
            "saved_id": run.run_id,
            "saved_read": row.events_read,
            "state": run.state.value,
            "snapshot": msgspec.json.encode(run),
            "events_read": row.events_read,
        }
        try:
            with self._connect() as connection:
                connection.execute(_SAVE, values)
        except OperationalError as error:
            if not _is_full(error):
                raise
            return row
        return msgspec.structs.replace(row, events_stored=row.events_read)

    def remove(self, run_id: str) -> None:
        """Take back a run of which nothing but the row was made."""
        with self._connect() as connection:
            connection.execute(sa.delete(table).where(table.c.run_id == run_id))

    def take_over(self, row: RunRow, submitter: ProcessId) -> bool:
        """Make a process answer for the start of a run. Returns False where another one was faster."""
        with self._connect() as connection:
            changed = connection.execute(
                sa.update(table)
                .where(
                    table.c.run_id == row.run.run_id,
                    table.c.submitter == msgspec.json.encode(row.submitter),
                )
                .values(submitter=msgspec.json.encode(submitter))
            )
        return bool(changed.rowcount)

    def page(
        self,
        *,
        states: tuple[RunState, ...] = (),
        plugin: str | None = None,
        principal: str | None = None,
        limit: int,
        before: tuple[float, str] | None = None,
    ) -> list[RunRow]:
        """Return rows, the newest first, that are older than `before` (created, run_id).

        principal: only those of this one.
        """
        query = sa.select(table).order_by(table.c.created.desc(), table.c.run_id.desc()).limit(limit)
        if states:
            query = query.where(table.c.state.in_([state.value for state in states]))
        if plugin is not None:
            query = query.where(table.c.plugin == plugin)
        if principal is not None:
            query = query.where(table.c.principal == principal)
        if before is not None:
            query = query.where(sa.tuple_(table.c.created, table.c.run_id) < before)
        with self._connect() as connection:
            return [_decoded(row) for row in connection.execute(query)]

    def recent_ids(self, limit: int = 200, prefix: str = "", principal: str | None = None) -> list[str]:
        """Return the ids of the newest runs that begin with `prefix`. principal: only those of this one."""
        query = sa.select(table.c.run_id).order_by(table.c.created.desc()).limit(limit)
        if prefix:
            query = query.where(table.c.run_id.startswith(prefix, autoescape=True))
        if principal is not None:
            query = query.where(table.c.principal == principal)
        with self._connect() as connection:
            return list(connection.execute(query).scalars())

    def count_active(self) -> int:
        """Return how many runs have not ended, as far as the rows know."""
        active = [state.value for state in RunState if not state.is_terminal]
        query = sa.select(sa.func.count()).select_from(table).where(table.c.state.in_(active))
        with self._connect() as connection:
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _connect(self) -> Any:
        with self._opening:
            if self._engine is None:
                self._engine = open_database(self._home)
        return self._engine.begin()

    def _row(self, query: sa.Select[Any], values: dict[str, Any] | None = None) -> RunRow | None:
        with self._connect() as connection:
            row = connection.execute(query, values).first()
        return None if row is None else _decoded(row)


def _is_full(error: OperationalError) -> bool:
    return "full" in str(error.orig)


def _decoded(row: Any) -> RunRow:
    return RunRow(
        run=decoded(row.snapshot, Run),
        events_read=row.events_read,
        events_stored=row.events_read,
        submitter=decoded(row.submitter, ProcessId),
        fingerprint=row.fingerprint,
    )
