"""Run: what is known of a run, as a fold over its events. It holds data and does nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from synapse_core.enums import ActionState, RunState
from synapse_core.events import (
    ActionFinished,
    ActionStarted,
    Answered,
    AnyEvent,
    Artifact,
    Failed,
    Log,
    Message,
    Metrics,
    Progress,
    Question,
    RunStarted,
    StepFinished,
    StepRolledBack,
    StepStarted,
    Stopped,
    Succeeded,
    is_terminal,
)
from synapse_core.processes import ProcessId
from synapse_core.runs.action_entry import ActionEntry, overall
from synapse_core.runs.standing import Failure, RunProgress


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. `after` is the only way from one state to the next.

    actions: of a pipeline, each after those that it depends on; none where the run is one action.
    questions: what it asks and has no answer to yet, as far as the run itself tells.
    principal: who submitted it, where a server tells its users apart.
    """

    run_id: str
    plugin: str
    action: str
    mode: str
    state: RunState
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    progress: RunProgress = RunProgress()
    metrics: dict[str, dict[str, Any]] = {}
    result: Any = None
    result_warnings: list[str] = []
    artifacts: tuple[Artifact, ...] = ()
    failure: Failure | None = None
    waiting: str | None = None
    actions: tuple[ActionEntry, ...] = ()
    questions: tuple[Question, ...] = ()
    last_seq: int = 0
    principal: str | None = None

    @property
    def is_done(self) -> bool:
        """True where nothing can follow any more."""
        return self.state.is_terminal

    @property
    def is_final(self) -> bool:
        """True where no later event can change the run; one that was lost may yet be heard of."""
        return self.is_done and self.state is not RunState.LOST

    @property
    def elapsed_seconds(self) -> float:
        """From the submission to the end, or until now."""
        return round(((self.ended or datetime.now(UTC)) - self.created).total_seconds(), 2)

    def after(self, event: AnyEvent) -> Run:
        """Return the run as it is once `event` has happened."""
        changes = _CHANGES.get(type(event)) if event.action is None else _of_action
        fields = {} if changes is None else changes(self, event)
        if self.questions and event.action is None and (is_terminal(event) or type(event) is RunStarted):
            fields["questions"] = ()
        return msgspec.structs.replace(self, last_seq=event.seq or self.last_seq, **fields)

    def waits_for(self, reason: str | None) -> Run:
        """Return the run with the reason why it has not begun."""
        return self if reason == self.waiting else msgspec.structs.replace(self, waiting=reason)

    def is_lost(self) -> Run:
        """Return the run as one of which nobody can know how it ended."""
        failure = Failure(
            "lost",
            "The process that executed the run is gone and left no word of how it ended.",
            "What it recorded until then is kept: read get_run_logs and the metrics, then run it again.",
        )
        return msgspec.structs.replace(
            self,
            state=RunState.LOST,
            ended=datetime.now(UTC),
            failure=failure,
            waiting=None,
            questions=(),
            actions=_cut_off(self, ActionState.LOST),
        )


class RunRow(msgspec.Struct, frozen=True):
    """A run as known: its fold, and how many bytes of its events are in the fold and in the stored row."""

    run: Run
    events_read: int
    events_stored: int
    submitter: ProcessId
    fingerprint: str


def fold(run: Run, events: Iterable[AnyEvent]) -> Run:
    """Return the run after all of `events`."""
    last: AnyEvent | None = None
    for event in events:
        if type(event) is Log:
            last = event  # entries of the log change nothing but the count, and there can be a great many
        else:
            run = run.after(event)
            last = None
    return run if last is None else run.after(last)


def _started(run: Run, event: RunStarted) -> dict[str, Any]:
    return {"state": RunState.RUNNING, "started": event.at, "waiting": None, "ended": None, "failure": None}


def _moved(run: Run, event: AnyEvent) -> dict[str, Any]:
    return {"progress": run.progress.after(event)}


def _measured(run: Run, event: Metrics) -> dict[str, Any]:
    return {"metrics": {**run.metrics, event.category: event.values}}


def _of_action(run: Run, event: AnyEvent) -> dict[str, Any]:
    """Return what changes where an action of a pipeline is heard of."""
    known = {entry.name: entry for entry in run.actions}
    if event.action not in known:
        return {}
    entry = known[event.action].after(event)
    known[entry.name] = entry
    actions = tuple(known.values())
    fields: dict[str, Any] = {"actions": actions, "progress": overall(actions, entry)}
    if isinstance(event, Metrics):
        fields["metrics"] = {**run.metrics, f"{entry.name}/{event.category}": event.values}
    if isinstance(event, Artifact):
        fields["artifacts"] = (*run.artifacts, event)
    if isinstance(event, Question):
        fields |= _asked(run, event)
    if isinstance(event, Answered):
        fields |= _answered(run, event)
    if isinstance(event, ActionStarted | ActionFinished) and run.questions:
        fields["questions"] = tuple(each for each in run.questions if each.action != event.action)
    return fields


def _cut_off(run: Run, state: ActionState) -> tuple[ActionEntry, ...]:
    """Return the actions of a run that has ended; of those that were running nobody knows more."""
    return tuple(entry.cut_off(state) for entry in run.actions)


def _produced(run: Run, event: Artifact) -> dict[str, Any]:
    return {"artifacts": (*run.artifacts, event)}


def _asked(run: Run, event: Question) -> dict[str, Any]:
    return {"questions": (*run.questions, event)}


def _answered(run: Run, event: Answered) -> dict[str, Any]:
    return {"questions": tuple(each for each in run.questions if each.question_id != event.question_id)}


def _succeeded(run: Run, event: Succeeded) -> dict[str, Any]:
    return {
        "state": RunState.SUCCEEDED,
        "ended": event.at,
        "result": event.result,
        "result_warnings": event.result_warnings,
        "progress": msgspec.structs.replace(run.progress, fraction=1.0, eta_seconds=None),
        "failure": None,
    }


def _failed(run: Run, event: Failed) -> dict[str, Any]:
    failure = Failure(event.code, event.message, event.hint, event.retryable, event.details)
    return {
        "state": RunState.FAILED,
        "ended": event.at or datetime.now(UTC),
        "failure": failure,
        "waiting": None,
        "progress": msgspec.structs.replace(run.progress, eta_seconds=None),
        "actions": _cut_off(run, ActionState.LOST),
    }


def _stopped(run: Run, event: Stopped) -> dict[str, Any]:
    failure = Failure("stopped", event.message)
    return {
        "state": RunState.STOPPED,
        "ended": event.at or datetime.now(UTC),
        "failure": failure,
        "waiting": None,
        "actions": _cut_off(run, ActionState.STOPPED),
    }


def _nothing(run: Run, event: StepRolledBack) -> dict[str, Any]:
    return {}


_CHANGES: dict[type, Any] = {
    RunStarted: _started,
    StepStarted: _moved,
    StepFinished: _moved,
    StepRolledBack: _nothing,
    Progress: _moved,
    Metrics: _measured,
    Message: _moved,
    Artifact: _produced,
    Question: _asked,
    Answered: _answered,
    Succeeded: _succeeded,
    Failed: _failed,
    Stopped: _stopped,
}
