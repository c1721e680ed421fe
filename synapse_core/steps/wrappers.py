"""Steps around steps: logging, timing and validation. They compose in any order."""

from __future__ import annotations

import time
from collections.abc import Callable

from synapse_core.steps.base import BaseStep, C, StepResult

Validator = Callable[[C], tuple[bool, str | None]]


class _Wrapper(BaseStep[C]):
    """Hands everything on to the wrapped step; `prefix` marks the name."""

    prefix = ""

    def __init__(self, step: BaseStep[C]) -> None:
        self._step = step

    @property
    def name(self) -> str:
        return f"{self.prefix}{self._step.name}"

    @property
    def progress_weight(self) -> float:
        return self._step.progress_weight

    def execute(self, context: C) -> StepResult:
        return self._step.execute(context)

    def can_skip(self, context: C) -> bool:
        return self._step.can_skip(context)

    def rollback(self, context: C, result: StepResult) -> None:
        self._step.rollback(context, result)


class LoggingStep(_Wrapper[C]):
    """Logs `step_start` and `step_end` around a step, and `step_rollback`; named `logged_<name>`."""

    prefix = "logged_"

    def execute(self, context: C) -> StepResult:
        context.log("step_start", {"step": self.name})
        started = time.monotonic()
        success, skipped = False, False
        try:
            result = super().execute(context)
            success, skipped = result.success, result.skipped
        finally:
            elapsed = round(time.monotonic() - started, 3)
            context.log(
                "step_end", {"step": self.name, "elapsed": elapsed, "success": success, "skipped": skipped}
            )
        return result

    def rollback(self, context: C, result: StepResult) -> None:
        context.log("step_rollback", {"step": self.name})
        super().rollback(context, result)


class TimingStep(_Wrapper[C]):
    """Adds `duration_seconds` (six decimals) to the data of a step's result; named `timed_<name>`."""

    prefix = "timed_"

    def execute(self, context: C) -> StepResult:
        started = time.monotonic()
        result = super().execute(context)
        result.data["duration_seconds"] = round(time.monotonic() - started, 6)
        return result


class ValidationStep(BaseStep[C]):
    """Fails the workflow unless `validator(context)` returns (True, ...); the second part is the reason."""

    def __init__(
        self, validator: Validator[C], name: str = "validate", progress_weight: float = 0.05
    ) -> None:
        self._validator = validator
        self._name = name
        self._progress_weight = progress_weight

    @property
    def name(self) -> str:
        return self._name

    @property
    def progress_weight(self) -> float:
        return self._progress_weight

    def execute(self, context: C) -> StepResult:
        is_valid, error = self._validator(context)
        if is_valid:
            return StepResult()
        return StepResult(success=False, error=error or f"{self._name} did not pass")
