"""What a run's events tell beside its fold: its steps, and how its metrics went."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from synapse_core.events import (
    ActionStarted,
    AnyEvent,
    Metrics,
    StepFinished,
    StepRolledBack,
    StepStarted,
    is_terminal,
)
from synapse_core.runs.tail import read_events
from synapse_mcp.curves import is_number, round_of

# A curve is drawn with at most this many points, some of which are left out as it grows.
MOST_POINTS = 600
_MOST_CURVES = 200
_MOST_STEPS = 200

StepState = Literal["running", "succeeded", "failed", "skipped", "rolled_back", "cut_off"]


class StepRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A step of a run, or of an action of a pipeline. cut_off: the run ended in it."""

    name: str
    state: StepState
    action: str | None = None
    started: datetime | None = None
    elapsed_seconds: float = 0.0
    error: str | None = None


class Curve:
    """The values of one metric, in the order in which they came.

    place: the name of what counts along the curve. points: (place, value), evenly thinned.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._kept: list[tuple[float, float]] = []
        self._last: tuple[float, float] | None = None
        self._every = 1
        self._seen = 0

    @property
    def points(self) -> list[tuple[float, float]]:
        return [*self._kept, self._last] if self._last is not None else [*self._kept]

    def add(self, at: float, value: float) -> None:
        """Add a value; one for the same place takes the place of the earlier one."""
        if self._last is not None and self._last[0] != at:
            if self._seen % self._every == 0:
                self._kept.append(self._last)
            self._seen += 1
        self._last = (at, value)
        if len(self._kept) >= MOST_POINTS:
            self._kept = self._kept[::2]
            self._every *= 2


class History:
    """The steps and curves of one run, read on from where the last reading ended."""

    def __init__(self, events: Path) -> None:
        self.steps: list[StepRecord] = []
        # (action, category, metric) -> its curve, in the order of their first values.
        self.curves: dict[tuple[str | None, str, str], Curve] = {}
        self._events = events
        self._offset = 0
        self._updates: dict[tuple[str | None, str], int] = {}

    def read_on(self, most_bytes: int = 1 << 22) -> bool:
        """Take in the next events. Returns True where there were any."""
        events, end = read_events(self._events, self._offset, most_bytes)
        is_news = end > self._offset
        self._offset = end
        for event in events:
            self._take(event)
        return is_news

    def _take(self, event: AnyEvent) -> None:
        if isinstance(event, Metrics):
            self._measure(event)
        elif isinstance(event, StepStarted):
            if len(self.steps) < _MOST_STEPS:
                self.steps.append(
                    StepRecord(name=event.step, state="running", action=event.action, started=event.at)
                )
        elif isinstance(event, StepFinished):
            self._end_step(event)
        elif isinstance(event, StepRolledBack):
            self._change(event.action, event.step, state="rolled_back", error=event.error)
        elif isinstance(event, ActionStarted):
            self._forget(event.action)
        elif is_terminal(event):
            for step in self.steps:
                if step.state == "running":
                    step.state = "cut_off"

    def _end_step(self, event: StepFinished) -> None:
        state: StepState = "skipped" if event.skipped else "succeeded" if event.success else "failed"
        elapsed = round(event.elapsed_seconds, 3)
        self._change(event.action, event.step, state=state, elapsed_seconds=elapsed, error=event.error)

    def _change(self, action: str | None, name: str, **fields: Any) -> None:
        """Change the latest step of this name."""
        for step in reversed(self.steps):
            if (step.action, step.name) == (action, name):
                for field, value in fields.items():
                    setattr(step, field, value)
                return

    def _forget(self, action: str | None) -> None:
        """Begin anew with an action that is tried once more."""
        self.steps = [step for step in self.steps if step.action != action]
        self.curves = {key: curve for key, curve in self.curves.items() if key[0] != action}
        self._updates = {key: count for key, count in self._updates.items() if key[0] != action}

    def _measure(self, event: Metrics) -> None:
        key = (event.action, event.category)
        self._updates[key] = self._updates.get(key, 0) + 1
        place = round_of(event.values)
        at = float(self._updates[key] if place is None else event.values[place])
        for name, value in event.values.items():
            if name == place or not is_number(value):
                continue
            curve = self.curves.get((*key, name))
            if curve is None or curve.place != (place or "update"):
                if curve is None and len(self.curves) >= _MOST_CURVES:
                    continue
                curve = self.curves[(*key, name)] = Curve(place or "update")
            curve.add(at, float(value))
