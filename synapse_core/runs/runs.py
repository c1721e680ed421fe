"""Runs of one home: submit, read, list, stop. Several processes may use one home at the same time."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from synapse_core.answers import Choice
from synapse_core.enums import LogLevel
from synapse_core.errors import Conflict, DiskFull, InvalidRequest, RunNotFound
from synapse_core.events import AnyEvent, ends_terminal
from synapse_core.executors.base import Executor, stop_run
from synapse_core.processes import ProcessId
from synapse_core.run_folder import RunFolder, RunRequest, new_run_id
from synapse_core.runs.answering import put_answer
from synapse_core.runs.beginning import hand_over, is_waiting, queued_run
from synapse_core.runs.log import LogPage, read_log
from synapse_core.runs.paging import decoded_cursor, encoded_cursor, states_of
from synapse_core.runs.reconcile import reconcile
from synapse_core.runs.request import fingerprint_of, own_key
from synapse_core.runs.run import Run, RunRow, fold
from synapse_core.runs.tail import (
    RECONCILE_SECONDS,
    iterate_events,
    look_after,
    read_events,
    size_of,
)

if TYPE_CHECKING:
    from synapse_core.runs.store import RunStore

# What can be the name of a run's folder.
_MAYBE_ID = re.compile(r"\w[\w.-]{0,199}")
# A fold is stored at the latest after this much new material, so that no reader starts from the beginning.
_SAVE_EVERY_BYTES = 1 << 20
# A list reads this much of a run's news, so that one run that floods does not hold it up.
_GLANCE_BYTES = 1 << 16


class Runs:
    """The runs of a home. Calls are synchronous and short, but for `stop` and `wait`.

    executors: by mode, what carries out the runs.
    profile: the name of the settings that runs are submitted with.
    adopts: start runs of processes that died before anybody had begun them. A process that only looks and
    then ends should leave them to one that stays.
    """

    def __init__(
        self,
        home: Path,
        executors: Mapping[str, Executor],
        *,
        profile: str | None = None,
        adopts: bool = True,
    ) -> None:
        self._home = home
        self._profile = profile
        self._adopts = adopts
        # Whose the new runs are, and whose can be seen; None is nobody's in particular, and everybody's.
        self._principal: str | None = None
        self._seen: str | None = None
        self._beginnings: dict[str, ThreadPoolExecutor] = {}
        self._opened: RunStore | None = None
        self._opening = threading.Lock()
        self._folders = home / "runs"
        self._executors = dict(executors)

    @cached_property
    def _me(self) -> ProcessId:
        return ProcessId.current()

    @property
    def _store(self) -> RunStore:
        with self._opening:
            if self._opened is None:
                # SQLAlchemy: 0.2 s that most starts need not wait
                from synapse_core.runs.store import RunStore

                self._opened = RunStore(self._home)
            return self._opened

    def of(self, principal: str, *, sees_all: bool = False) -> Runs:
        """Return these runs as one principal has them: what they submit is theirs, the rest is not there.

        sees_all: or is there even so. Folders are found by an id alone: ask `row` first. Closing is left to
        the one that was opened.
        """
        _ = self._store  # opened once, for all of them
        theirs = copy.copy(self)
        theirs._principal = principal
        theirs._seen = None if sees_all else principal
        return theirs

    @property
    def modes(self) -> list[str]:
        """The modes in which runs can be executed here."""
        return list(self._executors)

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self._folders / run_id)

    def submit(self, request: RunRequest, run_key: str | None = None) -> tuple[Run, bool]:
        """Record a run that is to be started. Returns it and True, or the run that the same key and the
        same request made earlier, and False.

        The request's run_id is chosen here. Nothing executes before `start`.
        Raises Conflict where the key stands for another request; InvalidRequest or Unavailable where the
        run could never be executed. Nothing is recorded then.
        """
        fingerprint = fingerprint_of(request)
        asked_key, run_key = run_key, own_key(self._principal, run_key)
        if run_key is not None and (row := self._store.by_key(run_key)) is not None:
            return self._same(row, fingerprint, asked_key), False
        self.check(request)
        request = msgspec.structs.replace(self._placed(request), run_id=new_run_id())
        run = queued_run(request, datetime.now(UTC))
        row = self._store.insert(run, run_key, fingerprint, self._me)
        if row is not None:
            return self._same(row, fingerprint, asked_key), False
        try:
            self.folder(run.run_id).create(request)
        except OSError as error:
            self._store.remove(run.run_id)
            raise DiskFull(str(self._home), error.strerror) from error
        return run, True

    def _placed(self, request: RunRequest) -> RunRequest:
        """Return the request with where it was submitted, its entries of a pipeline as well."""
        entries = tuple(
            msgspec.structs.replace(entry, request=self._placed(entry.request)) for entry in request.pipeline
        )
        return msgspec.structs.replace(
            request,
            home=str(self._home),
            profile=self._profile,
            principal=self._principal,
            pipeline=entries,
        )

    def check(self, request: RunRequest) -> None:
        """Raise InvalidRequest or Unavailable where a request, or a part of it, could never be executed."""
        parts = (request, *(entry.request for entry in request.pipeline))
        for part in {(part.mode, part.resources): part for part in parts}.values():
            self.executor(part.mode).check(part)

    def begin(self, run: Run) -> None:
        """Have a submitted run executed, and return at once.

        Runs of one mode begin in the order of these calls: a local Ray that takes ten seconds to come up
        holds up nothing else.
        """
        with self._opening:
            if run.mode not in self._beginnings:
                self._beginnings[run.mode] = ThreadPoolExecutor(1, f"begin-{run.mode}")
            self._beginnings[run.mode].submit(self.start, run.run_id)

    def start(self, run_id: str) -> None:
        """Have a submitted run executed. A failure to begin becomes the run's ending, not an exception."""
        folder = self.folder(run_id)
        request = folder.request()
        if request is None or folder.stop_requested() is not None or folder.claimed() is not None:
            return
        hand_over(folder, request, self.executor(request.mode))

    def get(self, run_id: str) -> Run:
        """Return a run as it truly stands. Raises RunNotFound with the nearest ids."""
        return self.refresh(self.row(run_id)).run

    def row(self, run_id: str) -> RunRow:
        """Return a run as it was last stored. Raises RunNotFound with the nearest ids."""
        row = self._store.get(run_id)
        if row is None:
            # A script that hands runs to an executor itself writes their folders only.
            row = self._restored(run_id)
        if row is None or self._seen not in (None, row.run.principal):
            raise RunNotFound(run_id, self._store.recent_ids(principal=self._seen))
        return row

    def refresh(self, row: RunRow, most_bytes: int | None = None) -> RunRow:
        """Return a row after what has happened until now: its events, and the fate of its worker.

        most_bytes: how much of a long record is read at most. The state is true even so; the progress of a
        run that goes on may then be a moment old.
        """
        now = row
        while not now.run.is_final:
            now = self._catch_up(now, most_bytes)
            if now.run.is_final:
                break
            now = self._adopted(now)
            settled = reconcile(
                now.run, self.folder(now.run.run_id), self.executor(now.run.mode), now.submitter
            )
            if settled is not None and not settled.is_done:
                return self._settled(now, settled)
            # Nobody executes it any more, but its last events may have come after they were read here.
            last = self._catch_up(now)
            if settled is not None and last.events_read == now.events_read:
                return self._settled(now, settled)
            now = last
        return now

    def read_on(self, row: RunRow, most_bytes: int = 1 << 18) -> RunRow:
        """Return a row after the next `most_bytes` of its events; stored now and then."""
        events, end = read_events(self.folder(row.run.run_id).events, row.events_read, most_bytes)
        if end == row.events_read:
            return row
        now = msgspec.structs.replace(row, run=fold(row.run, events), events_read=end)
        is_news = now.run.state is not row.run.state
        return self._store.save(now) if is_news or end - row.events_stored >= _SAVE_EVERY_BYTES else now

    def list(
        self,
        *,
        state: str | None = None,
        plugin: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[Run], str | None]:
        """Return runs, the newest first, and the cursor of the next page where there is one.

        state: one of RunState, or 'active' for all that have not ended.
        Raises InvalidRequest for a state or a cursor that is none.
        """
        states = states_of(state)
        before = decoded_cursor(cursor)
        rows = self._store.page(
            states=states, plugin=plugin, principal=self._seen, limit=limit + 1, before=before
        )
        runs = [self.refresh(row, _GLANCE_BYTES).run for row in rows[:limit]]
        more = None
        if len(rows) > limit:
            last = runs[-1]
            more = encoded_cursor(last.created.timestamp(), last.run_id)
        return [run for run in runs if not states or run.state in states], more

    def ids(self, prefix: str = "", limit: int = 100) -> Sequence[str]:
        """Return the ids of the newest runs that begin with `prefix`."""
        return self._store.recent_ids(limit, prefix)

    def count_active(self) -> int:
        """Return how many runs have not ended."""
        rows = self._store.page(states=states_of("active"), principal=self._seen, limit=200)
        return sum(not self.refresh(row, _GLANCE_BYTES).run.is_done for row in rows)

    def reconcile_all(self) -> int:
        """Bring every run that has not ended up to date. Returns how many were found ended."""
        rows = self._store.page(states=states_of("active"), limit=10_000)
        return sum(self.refresh(row).run.is_done for row in rows)

    def stop(self, run_id: str, force: bool = False) -> Run:
        """Stop a run, rollbacks first unless `force`, and return it when all of it is gone.

        Stopping an ended run changes nothing and returns it as it is.
        """
        run = self.get(run_id)
        if run.is_done:
            return run
        stop_run(self.executor(run.mode), self.folder(run_id), force)
        return self.get(run_id)

    def answer(
        self, run_id: str, question_id: str, action: Choice, content: Mapping[str, Any] | None = None
    ) -> None:
        """Answer what a run asks: accept with a content, decline or cancel. The first answer holds.

        Raises Conflict where the run does not wait for this answer, InvalidRequest for one that does not fit.
        """
        put_answer(self.get(run_id), self.folder(run_id), question_id, action, content)

    def wait(self, run_id: str, timeout_seconds: float | None = None) -> Run:
        """Return the run when it has ended, or as it stands when the time is up; it goes on then."""
        row = self.refresh(self.row(run_id))
        events = self.folder(run_id).events
        began = reconciled = time.monotonic()
        while not row.run.is_done:
            if timeout_seconds is not None and time.monotonic() - began >= timeout_seconds:
                break
            time.sleep(look_after(began))
            if size_of(events) > row.events_read:
                row = self.read_on(row)
            elif time.monotonic() - reconciled > RECONCILE_SECONDS:
                row = self.refresh(row)
                reconciled = time.monotonic()
        return row.run

    def events(self, run_id: str) -> Iterator[AnyEvent]:
        """Yield every event that the run has recorded so far."""
        self.row(run_id)
        return iterate_events(self.folder(run_id).events)

    def log(
        self,
        run_id: str,
        *,
        tail: int = 100,
        grep: str | None = None,
        level: LogLevel | None = None,
        cursor: int | None = None,
        most_chars: int = 30_000,
        shown: Callable[[str], str] = str,
    ) -> LogPage:
        """Return lines of the run's log; see `read_log`."""
        self.row(run_id)
        return read_log(
            self.folder(run_id).output,
            tail=tail,
            grep=grep,
            level=level,
            cursor=cursor,
            most_chars=most_chars,
            shown=shown,
        )

    def executor(self, mode: str) -> Executor:
        """Return what executes runs of a mode. Raises InvalidRequest naming the modes there are."""
        try:
            return self._executors[mode]
        except KeyError:
            raise InvalidRequest(
                f"There is no mode {mode!r} here; the modes are {', '.join(self._executors)}."
            ) from None

    def close(self) -> None:
        """Let go of files and connections. Runs go on."""
        for beginning in self._beginnings.values():
            beginning.shutdown(wait=False, cancel_futures=True)
        for executor in self._executors.values():
            executor.close()
        if self._opened is not None:
            self._opened.close()

    def _catch_up(self, row: RunRow, most_bytes: int | None = None) -> RunRow:
        """Return the row after the events that its folder holds at this moment.

        What is written meanwhile is left for the next time: a flood would never be caught up with. An ended
        record is read to its end whatever `most_bytes` says.
        """
        events = self.folder(row.run.run_id).events
        end = size_of(events)
        if most_bytes is not None and end - row.events_read > most_bytes and not ends_terminal(events):
            end = row.events_read + most_bytes
        while row.events_read < end:
            now = self.read_on(row)
            if now.events_read == row.events_read:
                break
            row = now
        return row

    def _settled(self, row: RunRow, run: Run) -> RunRow:
        """Return the row with what its events do not tell; stored where that is news."""
        now = msgspec.structs.replace(row, run=run)
        is_news = run.state is not row.run.state or run.waiting != row.run.waiting
        return self._store.save(now) if is_news else now

    def _adopted(self, row: RunRow) -> RunRow:
        """Return the row of a run, started from here where the process that was to start it has died.

        Should somebody have begun it even so, the second beginner finds it claimed.
        """
        folder = self.folder(row.run.run_id)
        if row.submitter.is_alive or not self._adopts or not is_waiting(folder):
            return row
        if self._store.take_over(row, self._me):
            self.begin(row.run)
        return self.row(row.run.run_id)

    def _restored(self, run_id: str) -> RunRow | None:
        """Return the row of a run of which there is only the folder, made anew; None where there is none."""
        folder = self.folder(run_id)
        request = folder.request() if _MAYBE_ID.fullmatch(run_id) else None
        if request is None or request.mode not in self._executors:
            return None
        run = queued_run(request, folder.created())
        # Whoever handed it in is unknown; the fold of its events begins at their beginning.
        self._store.insert(run, None, fingerprint_of(request), ProcessId(0, ""))
        return self._store.get(run_id)

    def _same(self, row: RunRow, fingerprint: str, run_key: str | None) -> Run:
        if row.fingerprint != fingerprint:
            raise Conflict(
                f"The run_key {run_key!r} already stands for run {row.run.run_id} "
                f"({row.run.plugin}/{row.run.action}) with other parameters.",
                {"run_id": row.run.run_id},
                hint="Use a new run_key for a new request, or repeat the earlier request unchanged.",
            )
        return self.refresh(row).run
