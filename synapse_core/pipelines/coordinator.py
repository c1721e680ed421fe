"""The action that carries out a pipeline: it begins the actions whose turn has come, and follows them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import MappingProxyType
from typing import Any

from synapse_core.base_action import BaseAction
from synapse_core.enums import ActionState
from synapse_core.errors import ActionFailed
from synapse_core.events import ActionFinished, ActionStarted, Message
from synapse_core.executors.base import Executor
from synapse_core.executors.forking import ForkingExecutor
from synapse_core.executors.ray.inside import executor_inside
from synapse_core.pipelines.action_run import ActionRun
from synapse_core.pipelines.checks import given_to
from synapse_core.pipelines.graph import ancestors_of
from synapse_core.run_folder import PipelineEntry, RunFolder

ENTRYPOINT = "synapse_core.pipelines.coordinator:Coordinator"

# How soon an event of an action is passed on: at once where something has just happened.
_LOOK_SECONDS = 0.001
_MOST_LOOK_SECONDS = 0.02


class Coordinator(BaseAction[Any]):
    """Runs the actions of the run folder's pipeline, each as soon as those that it depends on have succeeded.

    An action that fails lets those go on that do not depend on it. Every result is recorded before anything
    that depends on it begins, so that a later pipeline can go on from there.
    """

    def execute(self) -> Any:
        """Return the result of the last action, or by name those of all actions that nothing depends on."""
        assert self.ctx.run_folder is not None, "a worker gives its run a folder"
        self._folder = RunFolder(self.ctx.run_folder)
        request = self._folder.request()
        assert request is not None, "the worker has read it"
        self._given = request.params
        self._entries = {entry.name: entry for entry in request.pipeline}
        self._ancestors = ancestors_of({entry.name: entry.after for entry in request.pipeline})
        self._places = {name: index for index, name in enumerate(self._entries, start=1)}
        self._executor = _carrier(request.mode)
        self._states = dict.fromkeys(self._entries, ActionState.PENDING)
        self._results: dict[str, Any] = {}
        self._active: dict[str, ActionRun] = {}
        self._attempts = dict.fromkeys(self._entries, 0)
        self._due: dict[str, float] = {}
        self._failures: list[ActionFinished] = []
        self._folder.shared.mkdir(exist_ok=True)
        try:
            self._take_over()
            self._work()
        finally:
            # Something is left only where this was stopped, or cannot go on.
            with self.ctx.stop.shielded():
                self._stop_active()
        if self._failures:
            raise self._failed(self._failures[0])
        return self._last_results()

    def _take_over(self) -> None:
        """Skip what an earlier run has done."""
        for entry in self._entries.values():
            if entry.earlier is not None:
                text = f"{entry.name}: skipped, it succeeded in {entry.earlier.run_id}"
                self.ctx.emit(Message(action=entry.name, text=text))
                self._end(
                    ActionFinished(action=entry.name, state=ActionState.SKIPPED, result=entry.earlier.result)
                )

    def _work(self) -> None:
        """Begin and follow actions until none is left that can run."""
        pause = _LOOK_SECONDS
        while True:
            # A stop comes between two looks, so that what was read is told.
            with self.ctx.stop.uninterrupted:
                is_news = self._look()
            if not self._active and not self._due and not self._ready():
                return
            pause = _LOOK_SECONDS if is_news else min(pause * 1.1, _MOST_LOOK_SECONDS)
            if not is_news:
                time.sleep(pause)

    def _look(self) -> bool:
        """Begin what can begin and see to what runs. Returns True where anything has happened."""
        is_news = self._begin_ready()
        for action in list(self._active.values()):
            is_news = action.look() or is_news
            if action.run.is_done:
                action.drain()
                del self._active[action.entry.name]
                self._see_to_end(action)
        return is_news

    def _begin_ready(self) -> bool:
        """Begin every action whose turn has come. Returns True where there was one."""
        ready = self._ready()
        for entry in ready:
            self._begin(entry)
        return bool(ready)

    def _ready(self) -> list[PipelineEntry]:
        now = time.monotonic()
        return [
            entry
            for entry in self._entries.values()
            if self._states[entry.name] is ActionState.PENDING
            and self._due.get(entry.name, now) <= now
            and all(self._states[name].is_done_well for name in entry.after)
        ]

    def _begin(self, entry: PipelineEntry) -> None:
        name = entry.name
        self._attempts[name] += 1
        attempt = self._attempts[name]
        self._due.pop(name, None)
        self._states[name] = ActionState.RUNNING
        self.ctx.emit(
            ActionStarted(action=name, index=self._places[name], total=len(self._entries), attempt=attempt)
        )
        action = ActionRun(
            entry, attempt, self._params_of(entry), self._folder, self._executor, self.ctx.emit, _write
        )
        self._active[name] = action
        action.start()

    def _params_of(self, entry: PipelineEntry) -> dict[str, Any]:
        """Return what the pipeline was given, then what came before gave, then what the entry itself has."""
        known = dict(self._given)
        for name in self._entries:
            result = self._results.get(name)
            if name in self._ancestors[entry.name] and isinstance(result, Mapping):
                known.update(result)
        return {**given_to(entry.takes, known), **entry.request.params}

    def _see_to_end(self, action: ActionRun) -> None:
        """Record how an action ended, and have it tried again where its policy says so."""
        ended = action.finished()
        entry = action.entry
        self._end(ended)
        retry = entry.retry
        is_fit = ended.state is ActionState.FAILED and (ended.retryable or not retry.only_retryable)
        if ended.state.is_done_well:
            return
        if is_fit and action.attempt < retry.max_attempts:
            wait = retry.delay_seconds * retry.backoff ** (action.attempt - 1)
            text = (
                f"attempt {action.attempt} of {retry.max_attempts} failed; the next one begins in {wait:g} s"
            )
            self.ctx.emit(Message(action=entry.name, text=text, level="warning"))
            self._states[entry.name] = ActionState.PENDING
            self._due[entry.name] = time.monotonic() + wait
        else:
            self._failures.append(ended)

    def _end(self, ended: ActionFinished) -> None:
        """Record an ending; one that succeeded is a checkpoint."""
        assert ended.action is not None, "it is the ending of an entry"
        self.ctx.emit(ended)
        self._states[ended.action] = ended.state
        if ended.state.is_done_well:
            self._results[ended.action] = ended.result

    def _stop_active(self) -> None:
        """Stop everything that runs, all at once, and record how it ended."""
        asked = self._folder.stop_requested()
        force = asked is not None and asked.force
        active = list(self._active.values())
        self._active.clear()
        with ThreadPoolExecutor(max(1, len(active))) as threads:
            for action in active:
                threads.submit(action.stop, force=force)
        for action in active:
            action.look()
            action.drain()
            self._end(action.finished())

    def _failed(self, ended: ActionFinished) -> ActionFailed:
        name, run_id = str(ended.action), self._folder.run_id
        others = [str(other.action) for other in self._failures if other is not ended]
        hint = (
            f'Repair the cause, then run the same pipeline with resume_from="{run_id}": what has succeeded '
            "is not done again."
        )
        return ActionFailed(
            name,
            ended.message or f"it was {ended.state.value}",
            {**ended.details, **({"also_failed": others} if others else {})},
            code=ended.code,
            hint=f"{ended.hint} {hint}" if ended.hint else hint,
            retryable=ended.retryable,
        )

    def _last_results(self) -> Any:
        needed = {name for entry in self._entries.values() for name in entry.after}
        last = [name for name in self._entries if name not in needed]
        return self._results[last[0]] if len(last) == 1 else {name: self._results[name] for name in last}


@cache
def _carrier(mode: str) -> Executor:
    """Return what carries out the actions of pipelines of a mode; kept, so that its workers stay warm."""
    return _CARRIERS[mode]()


_CARRIERS: Mapping[str, Callable[[], Executor]] = MappingProxyType(
    {"local": ForkingExecutor, "task": executor_inside}
)
MODES = ("local", "task")


def _write(output: bytes) -> None:
    """Write to the pipeline's own log, which is descriptor 1 of every worker."""
    rest = memoryview(output)
    while rest:
        rest = rest[os.write(1, rest) :]
