"""One step of a workflow, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from synapse_core.steps.context import BaseStepContext

C = TypeVar("C", bound=BaseStepContext)


@dataclass
class StepResult:
    """How a step ended.

    data: what it produced. rollback_data: what its own `rollback` will need.
    """

    success: bool = True
    data: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    rollback_data: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    timestamp: datetime = field(default_factory=datetime.now)


class BaseStep(ABC, Generic[C]):
    """A unit of a workflow: reads and writes the shared context, and can undo itself."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the step is called; unique in its workflow, and the category of its progress."""

    @property
    @abstractmethod
    def progress_weight(self) -> float:
        """The step's part of the workflow's duration, usually in [0, 1]; the sum need not be 1."""

    @abstractmethod
    def execute(self, context: C) -> StepResult:
        """Do the work. A result with success False, or an exception, fails the workflow."""

    def can_skip(self, context: C) -> bool:
        """Return True where there is nothing to do."""
        return False

    def rollback(self, context: C, result: StepResult) -> None:
        """Undo the work after a later step, or this one, failed. `result` is what `execute` returned."""
        return
