"""A child interpreter that imports one plugin, describes its actions and checks parameters for them.

`python -m synapse_core.describe PLUGIN_FOLDER` answers one JSON line for each JSON line on its standard
input and ends with it. What the plugin prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from synapse_core import params as parameters
from synapse_core.base_action import NoResult
from synapse_core.config import ActionConfig
from synapse_core.decoding import decoded
from synapse_core.discovery import ActionClass, PluginDiscovery
from synapse_core.enums import PluginCategory
from synapse_core.errors import PluginLoadError, SynapseError, ValidationError


class ActionSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What can be told of an action without running it. Schemas are JSON schemas.

    param_names: every name under which a parameter can be given.
    """

    plugin: str
    name: str
    entrypoint: str
    method: str
    category: str
    description: str = ""
    params_schema: dict[str, Any] | None = None
    result_schema: dict[str, Any] | None = None
    input_type: str | None = None
    output_type: str | None = None
    strict_results: bool = False
    param_names: tuple[str, ...] = ()


class Issue(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something about a plugin that is wrong (error) or odd (warning)."""

    severity: str
    message: str
    hint: str | None = None
    file: str | None = None
    line: int | None = None


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """All the actions of a plugin that load, and an issue for each that does not."""

    actions: tuple[ActionSpec, ...] = ()
    issues: tuple[Issue, ...] = ()


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question to the child: describe everything, or check the parameters of an action."""

    action: str | None = None
    params: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The child's answer: a description, or what is wrong with the parameters (nothing where they fit).

    failure: why the action whose parameters were to be checked does not load.
    """

    description: Description | None = None
    failure: Issue | None = None
    message: str | None = None
    problems: list[dict[str, Any]] = []


def describe(discovery: PluginDiscovery) -> Description:
    """Import every action of a plugin; one that fails does not hide the others."""
    specs: list[ActionSpec] = []
    issues: list[Issue] = []
    for name in discovery.list_actions():
        try:
            specs.append(_describe_action(discovery, name))
        except SynapseError as error:
            issues.append(Issue("error", f"{name}: {error.message}", error.hint))
    return Description(tuple(specs), tuple(issues))


def answer(discovery: PluginDiscovery, query: Query) -> Answer:
    """Answer one question. Parameters that only a running action can judge are let through."""
    if query.action is None:
        return Answer(description=describe(discovery))
    try:
        parameters.check(discovery.get_action_params_model(query.action), query.params)
    except ValidationError as error:
        return Answer(message=error.message, problems=error.problems)
    except PluginLoadError as error:
        return Answer(failure=Issue("error", error.message, error.hint))
    except Exception as error:  # noqa: BLE001  # a validator is foreign code, and may need what only a run has
        sys.stderr.write(f"parameters not checked: {type(error).__name__}: {error}\n")
    return Answer()


def main(root: str) -> None:
    """Answer questions about one plugin until standard input ends."""
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers:
        _divert_standard_streams()
        discovery = PluginDiscovery.from_path(root)
        for line in questions:
            reply = answer(discovery, decoded(line, Query))
            answers.write(msgspec.json.encode(reply, enc_hook=str) + b"\n")
            answers.flush()


def _divert_standard_streams() -> None:
    """Keep the plugin away from the questions and answers: it reads nothing, and prints to stderr."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)


def _describe_action(discovery: PluginDiscovery, name: str) -> ActionSpec:
    config = discovery.get_action_config(name)
    with contextlib.redirect_stdout(sys.stderr):
        action = discovery.get_action_class(name)
    return spec_of(action, discovery.config.code, name, config)


def spec_of(action: ActionClass, plugin: str, name: str, config: ActionConfig) -> ActionSpec:
    """Return what an action's class and its part of config.yaml tell of it.

    Raises PluginLoadError where a model has no JSON schema.
    """
    result_model = action.result_model
    input_type, output_type = action.input_type, action.output_type
    return ActionSpec(
        plugin=plugin,
        name=name,
        entrypoint=config.entrypoint or "",
        method=config.method.value,
        category=str(action.category or PluginCategory.CUSTOM),
        description=config.description or inspect.getdoc(action) or "",
        params_schema=_schema(action.params_model),
        result_schema=None if result_model is NoResult else _schema(result_model),
        input_type=config.input_type if input_type is None else input_type.name,
        output_type=config.output_type if output_type is None else output_type.name,
        strict_results=config.strict_results or action.strict_results,
        param_names=parameters.names_of(action.params_model),
    )


def _schema(model: Any) -> dict[str, Any] | None:
    """Return a model's JSON schema. Raises PluginLoadError where it has none."""
    if model is None:
        return None
    try:
        return parameters.params_schema(model)
    except Exception as error:  # custom schema hooks are foreign code
        raise PluginLoadError(
            f"The model {model.__name__} has no JSON schema: {error}",
            hint="Use field types that JSON can carry.",
        ) from error


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
