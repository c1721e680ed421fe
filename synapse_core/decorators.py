"""The deprecated @action: a function that becomes a BaseAction, so that there is one way to run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic

from synapse_core.base_action import BaseAction, NoResult
from synapse_core.enums import PluginCategory

F = TypeVar("F", bound=Callable[..., Any])


def action(
    name: str | None = None,
    description: str = "",
    params: type[pydantic.BaseModel] | None = None,
    result: type[pydantic.BaseModel] | None = None,
    category: PluginCategory | None = None,
) -> Callable[[F], F]:
    """Make `func(params, context)` an action. Deprecated: subclass BaseAction instead.

    The function stays callable as it is; its action class is `func._action_class`.
    """

    def decorate(func: F) -> F:
        warnings.warn(
            "@action is deprecated; subclass synapse_core.BaseAction instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        attributes = {
            "_is_action": True,
            "_action_name": name or func.__name__,
            "_action_description": description or (func.__doc__ or "").strip(),
            "_action_params": params,
            "_action_result": result,
            "_action_category": category,
        }
        for attribute, value in attributes.items():
            setattr(func, attribute, value)
        func._action_class = _action_class(func)  # type: ignore[attr-defined]
        return func

    return decorate


def _action_class(func: Any) -> type[BaseAction[Any]]:
    """Return the action that calls the function."""

    def execute(self: BaseAction[Any]) -> Any:
        return func(self.params, self.ctx)

    return type(
        func.__name__,
        (BaseAction,),
        {
            "__doc__": func._action_description,
            "__module__": func.__module__,
            "action_name": func._action_name,
            "category": func._action_category,
            "params_model": func._action_params,
            "result_model": func._action_result or NoResult,
            "execute": execute,
        },
    )
