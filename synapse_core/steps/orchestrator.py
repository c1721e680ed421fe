"""Runs the steps of a workflow in order and undoes them when one fails."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from typing import Any, Generic

from synapse_core.errors import RunStopped, StepFailed
from synapse_core.events import StepFinished, StepRolledBack, StepStarted
from synapse_core.steps.base import BaseStep, C, StepResult
from synapse_core.steps.registry import StepRegistry

ProgressCallback = Callable[[int, int], Any]
BeforeStep = Callable[[str, C], Any]


class Orchestrator(Generic[C]):
    """Executes a registry's steps over one context.

    progress_callback: called with (percent, 100) after each step, by the share of the weights so far.
    before_step: called with (name, context) before each step; a failure of it fails that step.
    """

    def __init__(
        self,
        registry: StepRegistry[C],
        context: C,
        progress_callback: ProgressCallback | None = None,
        before_step: BeforeStep[C] | None = None,
    ) -> None:
        self._steps = registry.get_steps()
        self._context = context
        self._progress_callback = progress_callback
        self._before_step = before_step
        self._executed: list[tuple[BaseStep[C], StepResult]] = []

    def execute(self) -> dict[str, Any]:
        """Run all steps. Returns {'success': True, 'steps_executed': n, 'steps_total': n}; skipped ones
        do not count as executed.

        Raises StepFailed where a step fails. Whatever ends the workflow early, a stop included, the steps
        that had begun are rolled back in reverse order first, the failing one among them.
        """
        self._executed.clear()
        try:
            self._run_all()
        except RunStopped:
            # One that came while a failure was being answered may have come before the rollback began.
            self._roll_back()
            raise
        finally:
            self._enter(None)
        return {
            "success": True,
            "steps_executed": len(self._executed),
            "steps_total": len(self._steps),
        }

    def _run_all(self) -> None:
        try:
            for index, share in enumerate(self._shares(), start=1):
                self._run_step(self._steps[index - 1], index, share)
        except BaseException as failure:
            self._roll_back()
            if isinstance(failure, StepFailed):
                failure.note_errors(self._context.errors)
            raise

    def _run_step(self, step: BaseStep[C], index: int, share: tuple[float, float]) -> None:
        """Run or skip one step. Raises StepFailed, and lets a stop through, after recording the result."""
        self._enter(step.name)
        emit = self._context.runtime_ctx.emit
        emit(StepStarted(step=step.name, index=index, total=len(self._steps), start=share[0], share=share[1]))
        started = time.monotonic()
        cause: Exception | None = None
        result = StepResult(success=False, error="interrupted")
        try:
            if self._before_step is not None:
                self._before_step(step.name, self._context)
            if step.can_skip(self._context):
                result = StepResult(skipped=True)
            else:
                # Listed before it runs, so that a step that dies half-way is rolled back as well.
                self._executed.append((step, result))
                result = _checked(step.execute(self._context))
                self._executed[-1] = (step, result)
        except Exception as error:  # noqa: BLE001  # a step is foreign code: whatever it raises fails the step
            cause = error
            result = StepResult(success=False, error=str(error) or type(error).__name__)
            if self._executed and self._executed[-1][0] is step:
                self._executed[-1] = (step, result)
        finally:
            self._context.step_results.append(result)
            emit(
                StepFinished(
                    step=step.name,
                    success=result.success,
                    skipped=result.skipped,
                    elapsed_seconds=round(time.monotonic() - started, 3),
                    error=result.error,
                )
            )
        if not result.success:
            raise StepFailed(step.name, result.error) from cause
        if self._progress_callback is not None:
            self._progress_callback(round((share[0] + share[1]) * 100), 100)

    def _roll_back(self) -> None:
        """Undo what ran, the last first, once. A rollback that fails is recorded and the others go on."""
        runtime = self._context.runtime_ctx
        with runtime.stop.shielded():
            while self._executed:
                step, result = self._executed.pop()
                self._enter(step.name)
                error: str | None = None
                try:
                    step.rollback(self._context, result)
                except (Exception, SystemExit) as failure:  # noqa: BLE001  # foreign; the others must run
                    error = f"{type(failure).__name__}: {failure}"
                    self._context.errors.append(f"Rollback failed for step '{step.name}': {error}")
                    runtime.logger.error(traceback.format_exc())
                runtime.emit(StepRolledBack(step=step.name, error=error))

    def _enter(self, name: str | None) -> None:
        self._context.current_step = name
        self._context.runtime_ctx.logger.set_step(name)

    def _shares(self) -> list[tuple[float, float]]:
        """Return each step's (start, share) of the whole, in [0, 1]; equal shares where all weights are 0."""
        weights = [_positive(step.progress_weight) for step in self._steps]
        total = sum(weights)
        if total <= 0:
            weights, total = [1.0] * len(self._steps), float(len(self._steps))
        starts = [sum(weights[:index]) / total for index in range(len(weights))]
        return [(start, weight / total) for start, weight in zip(starts, weights, strict=True)]


def _checked(result: Any) -> StepResult:
    """Return what a step returned. Raises TypeError where it is no result."""
    if not isinstance(result, StepResult):
        raise TypeError(f"execute() returned {type(result).__name__}, not a StepResult")
    return result


def _positive(weight: float) -> float:
    """Return a weight that can be added up: 0 for one below 0 and for what is no number."""
    return weight if 0 < weight < math.inf else 0.0
