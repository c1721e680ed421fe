"""What the steps of one workflow share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from synapse_core.context import RuntimeContext
from synapse_core.enums import LogLevel

if TYPE_CHECKING:
    from synapse_core.steps.base import StepResult


@dataclass
class BaseStepContext:
    """The state of a workflow; subclasses add the fields that its steps exchange.

    current_step is set by the orchestrator and is the category of calls that name none. A subclass takes
    runtime_ctx first, then its own fields, which may be required; the other fields it takes by name only.
    """

    runtime_ctx: RuntimeContext
    step_results: list[StepResult] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    current_step: str | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # By position they would stand before the subclass's own fields, and those would all need defaults.
        for own in fields(BaseStepContext)[1:]:
            own.kw_only = True

    def log(
        self,
        event: str,
        data: Mapping[str, Any],
        file: str | None = None,
        level: LogLevel = LogLevel.INFO,
    ) -> None:
        self.runtime_ctx.log(event, data, file, level)

    def log_message(
        self,
        message: str | Mapping[str, str],
        level: LogLevel | str = LogLevel.INFO,
        *,
        context: LogLevel | str | None = None,
        language: str | None = None,
        step: str | None = None,
        **values: Any,
    ) -> None:
        self.runtime_ctx.log_message(
            message, level, context=context, language=language, step=step or self.current_step, **values
        )

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        self.runtime_ctx.set_progress(current, total, step or category or self.current_step)

    def set_metrics(
        self, value: Mapping[str, Any], step: str | None = None, *, category: str | None = None
    ) -> None:
        self.runtime_ctx.set_metrics(value, step or category or self.current_step)
