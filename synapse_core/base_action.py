"""BaseAction: validated parameters in, work, a result out. Knows nothing of runs or executors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import pydantic

from synapse_core import params as parameters
from synapse_core.context import RuntimeContext
from synapse_core.enums import LogLevel, PluginCategory
from synapse_core.errors import ExecutionError, InvalidResult
from synapse_core.loggers import BaseLogger
from synapse_core.questions import Elicited, Model
from synapse_core.steps import BaseStepContext, Orchestrator, StepRegistry
from synapse_core.types import DataType

P = TypeVar("P")

Integration = Callable[["BaseAction[Any]"], None]
_integrations: dict[str, Integration | str] = {
    "ultralytics": "synapse_core.integrations.ultralytics:activate",
}
_MOST_WARNINGS = 20


class NoResult(pydantic.BaseModel):
    """Stands for 'the result has no model'."""


def register_integration(framework: str, activate: Integration | str) -> None:
    """Make `autolog(framework)` call `activate(action)`.

    A text 'module:function' is imported when it is first used, so that naming a framework costs nothing.
    """
    _integrations[framework] = activate


def list_integrations() -> list[str]:
    """Return the names that `autolog` takes."""
    return sorted(_integrations)


class BaseAction(Generic[P]):
    """The base of every action. `P` is the pydantic model of its parameters.

    A subclass defines `execute()`, or registers steps in `setup_steps()`; where steps are registered they
    are the work and `execute()` is not called.
    """

    action_name: ClassVar[str | None] = None
    category: ClassVar[PluginCategory | str | None] = None
    input_type: ClassVar[type[DataType] | None] = None
    output_type: ClassVar[type[DataType] | None] = None
    params_model: ClassVar[type[pydantic.BaseModel] | None] = None
    result_model: ClassVar[type[pydantic.BaseModel]] = NoResult
    strict_results: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "params_model" in cls.__dict__:
            return
        for base in cls.__dict__.get("__orig_bases__", ()):
            if not issubclass(get_origin(base) or object, BaseAction):
                continue  # another generic base, whose argument says nothing of the parameters
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, pydantic.BaseModel):
                    cls.params_model = argument
                    return

    def __init__(self, params: P, ctx: RuntimeContext) -> None:
        self.params = params
        self.ctx = ctx

    @classmethod
    def dispatch(cls, params: Mapping[str, Any], ctx: RuntimeContext, *, strict: bool = False) -> Any:
        """Validate `params`, run the action and check its result. Every executor goes through here.

        strict: a result that does not fit its model fails the action instead of giving warnings.
        Raises ValidationError before any work where the parameters do not fit; InvalidResult if strict.
        """
        validated: Any = dict(params)
        if cls.params_model is not None:
            validated = parameters.validate(cls.params_model, params, ctx.client)
        result = cls(validated, ctx).run()
        ctx.result_warnings = cls.check_result(result, strict=strict)
        for warning in ctx.result_warnings:
            text = f"Result validation warning for {cls.result_model.__name__}: {warning}"
            ctx.logger.message(text, LogLevel.WARNING)
        return result

    @classmethod
    def check_result(cls, result: Any, *, strict: bool = False) -> list[str]:
        """Return what is wrong with a result, an empty list where nothing is or no model is declared.

        Raises InvalidResult instead where `strict`, or the class's own `strict_results`, is set.
        """
        if cls.result_model is NoResult or isinstance(result, cls.result_model):
            return []
        if isinstance(result, Mapping):
            try:
                cls.result_model.model_validate(dict(result))
                return []
            except pydantic.ValidationError as error:
                problems = parameters.problems_of(error, cls.result_model)
                warnings = [parameters.problem_line(problem) for problem in problems[:_MOST_WARNINGS]]
                if len(problems) > _MOST_WARNINGS:
                    warnings.append(f"and {len(problems) - _MOST_WARNINGS} more problems")
            except Exception as error:  # noqa: BLE001  # a validator is foreign code, and the work is done
                warnings = [f"it cannot be checked: {type(error).__name__}: {error}"]
        else:
            warnings = [f"the result is a {type(result).__name__}"]
        if strict or cls.strict_results:
            raise InvalidResult(
                f"The result does not fit {cls.result_model.__name__}: {'; '.join(warnings)}",
                {"problems": warnings},
                hint="Return what the result model declares, or switch strict_results off.",
            )
        return warnings

    def run(self) -> Any:
        """Do the action: its steps where `setup_steps` registers any, else `execute()`."""
        registry: StepRegistry[Any] = StepRegistry()
        self.setup_steps(registry)
        return self._run_steps(registry) if registry else self.execute()

    def execute(self) -> Any:
        """Do the work and return the result. Override this, or register steps.

        The default runs the registered steps, so that an override may call it and work on.
        """
        registry: StepRegistry[Any] = StepRegistry()
        self.setup_steps(registry)
        if not registry:
            raise ExecutionError(
                f"{type(self).__name__} does nothing: it neither defines execute() nor registers steps.",
                hint="Define execute(self), or register steps in setup_steps(self, registry).",
            )
        return self._run_steps(registry)

    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        """Register the workflow's steps; by default there are none."""
        return

    def create_context(self) -> BaseStepContext:
        """Return the context that the steps share."""
        return BaseStepContext(runtime_ctx=self.ctx)

    def get_result(self, context: Any, summary: dict[str, Any]) -> Any:
        """Return the result of a finished workflow; `summary` is the orchestrator's."""
        return summary

    @property
    def logger(self) -> BaseLogger:
        return self.ctx.logger

    def log(self, event: str, data: Mapping[str, Any], file: str | None = None) -> None:
        """Record a structured entry."""
        self.ctx.log(event, data, file)

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        """Record that `current` of `total` is done. Raises ValueError outside 0..total."""
        self.ctx.set_progress(current, total, step or category)

    def set_metrics(
        self, value: Mapping[str, Any], step: str | None = None, *, category: str | None = None
    ) -> None:
        """Merge metrics into a category."""
        self.ctx.set_metrics(value, step or category)

    def log_metric(self, category: str, key: str, value: float, **metrics: Any) -> None:
        """Record one named value of a category."""
        self.ctx.log_metric(category, key, value, **metrics)

    def log_visualization(self, category: str, group: str, index: int, image: str, **meta: Any) -> None:
        """Record a picture."""
        self.ctx.log_visualization(category, group, index, image, **meta)

    def log_message(
        self,
        message: str | Mapping[str, str],
        level: LogLevel | str = LogLevel.INFO,
        *,
        context: LogLevel | str | None = None,
        **values: Any,
    ) -> None:
        """Tell the person who watches the run something."""
        self.ctx.log_message(message, level, context=context, **values)

    def elicit(self, message: str, answer: type[Model]) -> Elicited[Model]:
        """Ask the user to fill in a form, and wait for the answer; see `RuntimeContext.elicit`."""
        return self.ctx.elicit(message, answer)

    def autolog(self, framework: str) -> None:
        """Let a framework's own callbacks report progress and metrics.

        Raises ValueError naming the known frameworks; ImportError where the framework is not installed.
        """
        if framework not in _integrations:
            known = ", ".join(list_integrations()) or "none"
            raise ValueError(f"There is no integration for {framework!r}; known: {known}.")
        activate = _integrations[framework]
        if isinstance(activate, str):
            module, _, name = activate.partition(":")
            activate = getattr(importlib.import_module(module), name)
        activate(self)

    def _run_steps(self, registry: StepRegistry[Any]) -> Any:
        context = self.create_context()
        summary = Orchestrator(registry, context).execute()
        return self.get_result(context, summary)
