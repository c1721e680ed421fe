"""One attempt of one action of a pipeline: an ordinary run inside the pipeline's folder."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.answers import Answers
from synapse_core.enums import ActionState, RunState
from synapse_core.events import (
    ActionFinished,
    Answered,
    AnyEvent,
    Artifact,
    Message,
    Progress,
    Question,
    RunStarted,
    is_terminal,
)
from synapse_core.executors.base import Executor
from synapse_core.processes import ProcessId
from synapse_core.run_folder import Claim, Exit, PipelineEntry, RunFolder
from synapse_core.runs.beginning import hand_over, queued_run
from synapse_core.runs.reconcile import reconcile
from synapse_core.runs.tail import read_events, size_of

# How often a worker that says nothing is looked after.
_RECONCILE_SECONDS = 0.3
_CHUNK_BYTES = 1 << 20
_LOGGED = re.compile(rb"(\d\d:\d\d:\d\d [A-Z]+ +)(.*)", re.DOTALL)
_STATES = {
    RunState.SUCCEEDED: ActionState.SUCCEEDED,
    RunState.FAILED: ActionState.FAILED,
    RunState.STOPPED: ActionState.STOPPED,
    RunState.LOST: ActionState.LOST,
}

Tell = Callable[[AnyEvent], None]


class ActionRun:
    """Starts an action, and tells the pipeline all that becomes of it.

    tell: takes the events, each with the name of the entry. write: takes what the action printed.
    """

    def __init__(
        self,
        entry: PipelineEntry,
        attempt: int,
        params: Mapping[str, Any],
        pipeline: RunFolder,
        executor: Executor,
        tell: Tell,
        write: Callable[[bytes], None],
    ) -> None:
        self.entry = entry
        self.attempt = attempt
        self.folder = pipeline.action(entry.name, attempt)
        self._pipeline = pipeline
        self._executor = executor
        self._tell = tell
        self._write = write
        self._events_read = 0
        self._output_read = 0
        self._begun = self._reconciled = time.monotonic()
        self._is_told_waiting = False
        self._me = ProcessId.current()
        self._request = msgspec.structs.replace(
            entry.request,
            run_id=f"{pipeline.run_id}.{self.folder.run_id}",
            params=dict(params),
            environment={**entry.request.environment, "SYNAPSE_PIPELINE_DIR": str(pipeline.shared)},
            parent=str(pipeline.path),
        )
        self.run = queued_run(self._request, datetime.now(UTC))

    def start(self) -> None:
        """Begin; a failure to begin is the run's ending, as any other."""
        self.folder.create(self._request)
        hand_over(self.folder, self._request, self._executor)

    def drain(self) -> None:
        """Tell all that is there at this moment."""
        while self._pass_on():
            continue

    def look(self) -> bool:
        """Tell what has happened since the last time. Returns True where anything has."""
        is_news = self._pass_on()
        self._hand_down_answers()
        now = time.monotonic()
        if self.run.is_done or (is_news and now - self._reconciled < _RECONCILE_SECONDS):
            return is_news
        if now - self._reconciled >= _RECONCILE_SECONDS or self.folder.exit() is not None:
            self._reconciled = now
            is_news = self._settle() or is_news
        return is_news

    def stop(self, *, force: bool) -> None:
        """End it, rollbacks first unless `force`, and return when it is gone."""
        self.folder.request_stop(force)
        if self.folder.claimed() is None and self.folder.claim(Claim("nobody")):
            self.folder.write_exit(Exit(datetime.now(UTC), cause="stopped"))
        else:
            self._executor.stop(self.folder, self.folder.claimed(), force)

    def finished(self) -> ActionFinished:
        """Return the event that tells how it ended."""
        failure = self.run.failure
        return ActionFinished(
            action=self.entry.name,
            state=_STATES.get(self.run.state, ActionState.LOST),
            result=self.run.result,
            attempt=self.attempt,
            elapsed_seconds=round(time.monotonic() - self._begun, 3),
            **({} if failure is None else msgspec.structs.asdict(failure)),
        )

    def _settle(self) -> bool:
        """See to a worker that is gone. Returns True where the run has ended by that."""
        settled = reconcile(self.run, self.folder, self._executor, self._me)
        if settled is None or settled.is_done:
            # Its last words may have come after they were read here.
            self.drain()
            if settled is not None and not self.run.is_done:
                self.run = settled
            return self.run.is_done
        if settled.waiting and self.run.started is None and not self._is_told_waiting:
            self._is_told_waiting = True
            self._tell(Message(action=self.entry.name, text=settled.waiting, level="debug"))
        return False

    def _pass_on(self) -> bool:
        """Tell the next events and write the next output. Returns True where there was any."""
        is_news = False
        if size_of(self.folder.events) > self._events_read:
            events, self._events_read = read_events(self.folder.events, self._events_read, _CHUNK_BYTES)
            for event in _newest(events):
                self._take(event)
            is_news = bool(events)
        return self._pass_on_output() or is_news

    def _hand_down_answers(self) -> None:
        """Give the action the answers to what it asks, which the pipeline was given."""
        answers = Answers(self.folder.path)
        for question in self.run.questions:
            if not answers.has(question.question_id):
                given = Answers(self._pipeline.path).take(self._told_id(question))
                if given is not None:
                    answers.put(question.question_id, given)

    def _told_id(self, event: Question | Answered) -> str:
        """Return by which id the pipeline tells of a question: with the action and the attempt."""
        return f"{self.folder.run_id}.{event.question_id}"

    def _take(self, event: AnyEvent) -> None:
        self.run = self.run.after(event)
        if isinstance(event, RunStarted) or is_terminal(event):
            return
        if isinstance(event, Artifact) and "://" not in event.uri and not Path(event.uri).is_absolute():
            place = self.folder.path.relative_to(self._pipeline.path).as_posix()
            event = msgspec.structs.replace(event, uri=f"{place}/{event.uri}")
        if isinstance(event, Question | Answered):
            event = msgspec.structs.replace(event, question_id=self._told_id(event))
        self._tell(msgspec.structs.replace(event, action=self.entry.name))

    def _pass_on_output(self) -> bool:
        """Write the whole lines that were printed since the last time, and all of it at the end."""
        size = size_of(self.folder.output)
        if size <= self._output_read:
            return False
        with open(self.folder.output, "rb") as file:
            file.seek(self._output_read)
            data = file.read(_CHUNK_BYTES)
        end = data.rfind(b"\n") + 1
        if not end and not self.run.is_done and len(data) < _CHUNK_BYTES:
            return False
        if self.run.is_done or not end:
            end = len(data)
        self._output_read += end
        self._write(_marked(data[:end], self.entry.name.encode()))
        return True


def _newest(events: list[AnyEvent]) -> list[AnyEvent]:
    """Return the events without progress that later progress of the same category has overtaken."""
    if len(events) < 3:
        return events
    told: set[str | None] = set()
    kept: list[AnyEvent] = []
    for event in reversed(events):
        if isinstance(event, Progress):
            if event.category in told:
                continue
            told.add(event.category)
        kept.append(event)
    return kept[::-1]


def _marked(lines: bytes, name: bytes) -> bytes:
    """Return lines with the action's name before each; a logged line keeps its time and level in front."""
    marked = []
    for line in lines.split(b"\n"):
        logged = _LOGGED.fullmatch(line)
        if logged is not None:
            marked.append(b"%s[%s] %s" % (logged[1], name, logged[2]))
        else:
            marked.append(b"[%s] %s" % (name, line) if line else b"")
    text = b"\n".join(marked)
    return text if text.endswith(b"\n") else text + b"\n"
