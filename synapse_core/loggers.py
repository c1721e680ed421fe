"""Loggers turn an action's calls into events; what becomes of an event is the subclass's affair."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synapse_core.enums import LogLevel
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
    StepFinished,
    StepRolledBack,
    StepStarted,
    encode_line,
    is_terminal,
    stamped,
)
from synapse_core.plain_text import plain_lines
from synapse_core.stop import StopSignal

DEFAULT_CATEGORY = "__default__"


@dataclass(frozen=True)
class ProgressData:
    """How far one category is: percent in [0, 100], times in seconds."""

    percent: float
    time_remaining: float | None
    elapsed_time: float
    status: Literal["running", "failed"] = "running"


class BaseLogger(ABC):
    """What an action logs to: keeps progress and metrics per category and emits an event for each call.

    `step` and `category` are two names of one argument. Where neither is given, the current step stands in.
    Safe to call from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._progress: dict[str, ProgressData] = {}
        self._started: dict[str, float] = {}
        self._metrics: dict[str, dict[str, Any]] = {}
        self._step: str | None = None
        self._finished = False

    @abstractmethod
    def emit(self, event: AnyEvent) -> None:
        """Take one event; it has neither number nor time yet."""

    def log(
        self,
        level: LogLevel,
        event: str,
        data: Mapping[str, Any],
        file: str | None = None,
        step: str | None = None,
    ) -> None:
        """Emit a structured entry. Raises TypeError for a level or data of another kind."""
        if not isinstance(level, LogLevel):
            raise TypeError(f"level must be a LogLevel, not {type(level).__name__}")
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a mapping, not {type(data).__name__}")
        self._take(
            Log(event=event, data=dict(data), level=level.value, file=file, category=step or self._step)
        )

    def message(self, text: str, level: LogLevel = LogLevel.INFO, step: str | None = None) -> None:
        """Emit a sentence for the person who watches."""
        self._take(Message(text=text, level=level.value, category=step or self._step))

    def debug(self, text: str) -> None:
        self.message(text, LogLevel.DEBUG)

    def info(self, text: str) -> None:
        self.message(text, LogLevel.INFO)

    def warning(self, text: str) -> None:
        self.message(text, LogLevel.WARNING)

    def error(self, text: str) -> None:
        self.message(text, LogLevel.ERROR)

    def critical(self, text: str) -> None:
        self.message(text, LogLevel.CRITICAL)

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        """Emit how far a category is. A call with current = 0 starts its clock anew.

        Raises ValueError where total is not a number above 0 or current is outside 0..total.
        """
        if not 0 < total < math.inf:
            raise ValueError(f"total must be a number above 0, not {total}")
        if not 0 <= current <= total:
            raise ValueError(f"current must be within 0..{total}, not {current}")
        named = step or category or self._step
        key = named or DEFAULT_CATEGORY
        now = time.monotonic()
        with self._lock:
            if current == 0 or key not in self._started:
                self._started[key] = now
            elapsed = now - self._started[key]
            remaining = round(elapsed / current * (total - current), 2) if current else None
            progress = ProgressData(round(current / total * 100, 2), remaining, round(elapsed, 2))
            self._progress[key] = progress
            self._take(
                Progress(
                    current=current,
                    total=total,
                    percent=progress.percent,
                    category=named,
                    elapsed_seconds=progress.elapsed_time,
                    remaining_seconds=remaining,
                )
            )

    def set_progress_failed(self, step: str | None = None, *, category: str | None = None) -> None:
        """Emit that a category failed: 0 percent, status failed."""
        named = step or category or self._step
        key = named or DEFAULT_CATEGORY
        with self._lock:
            elapsed = round(time.monotonic() - self._started.get(key, time.monotonic()), 2)
            self._progress[key] = ProgressData(0.0, None, elapsed, "failed")
            self._take(
                Progress(
                    current=0,
                    total=1,
                    percent=0.0,
                    category=named,
                    elapsed_seconds=elapsed,
                    status="failed",
                )
            )

    def set_metrics(
        self, value: Mapping[str, Any], step: str | None = None, *, category: str | None = None
    ) -> None:
        """Merge metrics into a category and emit all that it now holds. Raises TypeError for no mapping."""
        if not isinstance(value, Mapping):
            raise TypeError(f"metrics must be a mapping, not {type(value).__name__}")
        key = step or category or self._step or DEFAULT_CATEGORY
        with self._lock:
            merged = {**self._metrics.get(key, {}), **value}
            self._metrics[key] = merged
            self._take(Metrics(category=key, values=merged))

    def get_progress(self, step: str | None = None) -> ProgressData | None:
        """Return the last progress of a category, of the current step where none is named."""
        return self._progress.get(step or self._step or DEFAULT_CATEGORY)

    def get_metrics(self, step: str | None = None) -> dict[str, Any]:
        """Return a copy of a category's metrics."""
        return dict(self._metrics.get(step or self._step or DEFAULT_CATEGORY, {}))

    def set_step(self, step: str | None) -> None:
        """Name the step that calls without a category belong to; None for no step."""
        self._step = step

    def get_step(self) -> str | None:
        return self._step

    def finish(self) -> None:
        """End logging; any later call raises RuntimeError."""
        self._finished = True

    def _take(self, event: AnyEvent) -> None:
        if self._finished:
            raise RuntimeError("This logger is finished; nothing can be logged any more.")
        self.emit(event)


class NoOpLogger(BaseLogger):
    """Keeps progress and metrics, shows and stores nothing."""

    def emit(self, event: AnyEvent) -> None:
        return


class ConsoleLogger(BaseLogger):
    """Writes a readable line for each event to stderr, progress at most every half second a category."""

    def __init__(self, write: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self._write = write or _write_stderr
        self._shown_at: dict[str | None, float] = {}

    def emit(self, event: AnyEvent) -> None:
        if isinstance(event, Progress):
            self._show_progress(event)
        elif isinstance(event, Metrics):
            values = ", ".join(f"{name}={value}" for name, value in event.values.items())
            self._write(f"{event.category}: {values}\n")
        elif line := readable_line(event):
            self._write(line)

    def _show_progress(self, event: Progress) -> None:
        label = event.category or "progress"
        if event.status == "failed":
            self._write(f"{label}: failed\n")
            return
        now = time.monotonic()
        if event.current < event.total and now - self._shown_at.get(event.category, -1.0) < 0.5:
            return
        self._shown_at[event.category] = now
        self._write(f"{label}: {event.current:g}/{event.total:g} ({event.percent:g} %)\n")


class EventLogger(BaseLogger):
    """Writes each event as one line into a run's event file, in order, numbered from 1 without gaps.

    One system call a line, so that an event which was emitted is in the file even if the process is killed
    at the next instruction. After the terminal event nothing more is written.

    stop: the run's stop signal, held off while a line is written.
    echo: also called with a readable line for messages, log entries and steps.
    watch: called with every event that was written.
    """

    def __init__(
        self,
        path: Path,
        stop: StopSignal | None = None,
        echo: Callable[[str], Any] | None = None,
        watch: Callable[[AnyEvent], Any] | None = None,
    ) -> None:
        super().__init__()
        self._watch = watch
        self._stop = stop or StopSignal()
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._owner = os.getpid()
        self._echo = echo
        self._seq = 0
        self._is_ended = False

    def emit(self, event: AnyEvent) -> None:
        if os.getpid() != self._owner:
            # A forked child has a copy of the counter: its numbers would collide with its parent's.
            _write_stderr("Event dropped: only the worker process itself can report, not a forked child.\n")
            return
        # A stop that was raised between the write and the count would tear the numbering.
        with self._stop.uninterrupted, self._lock:
            if self._is_ended or self._file is None:
                return
            _append_whole(self._file, encode_line(stamped(event, self._seq + 1)))
            self._seq += 1
            self._is_ended = is_terminal(event)
        if self._watch is not None:
            self._watch(event)
        if self._echo is not None and (line := readable_line(event)):
            self._echo(line)

    def close(self) -> None:
        """Release the file; what was written stays. A second call does nothing."""
        with self._lock:
            self._is_ended = True
            if self._file is not None:
                os.close(self._file)
                self._file = None


def readable_line(event: AnyEvent) -> str | None:
    """Return '12:00:01 INFO    text' for an event that a reader of the log cares about, else None.

    What an action of a pipeline tells is in that action's own log, which the pipeline's log repeats.
    """
    if isinstance(event, ActionStarted):
        attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        level, text = "info", f"action {event.index}/{event.total} {event.action} started{attempt}"
    elif isinstance(event, ActionFinished):
        is_well = event.state.is_done_well
        level = "info" if is_well else "error"
        text = f"action {event.action} {event.state} after {event.elapsed_seconds:.2f} s"
        text += f" ({event.code}): {event.message}" if event.code else ""
    elif event.action is not None:
        return None
    elif isinstance(event, Message):
        level, text = event.level, event.text
    elif isinstance(event, Log):
        data = " ".join(f"{name}={value}" for name, value in event.data.items())
        level, text = (
            event.level,
            f"{event.event} {data}".rstrip() + (f" [{event.file}]" if event.file else ""),
        )
    elif isinstance(event, StepStarted):
        level, text = "info", f"step {event.index}/{event.total} {event.step} started"
    elif isinstance(event, StepFinished):
        outcome = "skipped" if event.skipped else "finished" if event.success else f"failed: {event.error}"
        level, text = (
            "info" if event.success else "error",
            f"step {event.step} {outcome} after {event.elapsed_seconds:.2f} s",
        )
    elif isinstance(event, StepRolledBack):
        level, text = ("error", f"rollback of step {event.step} failed: {event.error}")
        if event.error is None:
            level, text = ("warning", f"step {event.step} rolled back")
    elif isinstance(event, Artifact):
        level, text = "info", f"artifact {event.name} ({event.size_bytes:,} bytes)"
    elif isinstance(event, Question):
        level, text = "info", f"{event.question_id} waits for an answer: {event.message}"
    elif isinstance(event, Answered):
        level, text = "info", f"{event.question_id} answered ({event.choice})"
    elif isinstance(event, Failed):
        level, text = "error", f"failed ({event.code}): {event.message}"
    else:
        return None
    head = f"{time.strftime('%H:%M:%S')} {level.upper():<8} "
    return f"{head}{plain_lines(text, indent=' ' * len(head))}\n"


def _write_stderr(text: str) -> None:
    sys.stderr.write(text)


def _append_whole(file: int, line: bytes) -> None:
    """Append a line, or nothing of it: a part of one would spoil the line after it.

    Raises OSError where the disk is full.
    """
    written = os.write(file, line)
    while written < len(line):
        try:
            written += os.write(file, line[written:])
        except OSError:
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise
