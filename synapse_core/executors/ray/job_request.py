"""The request of a run that a script hands in without a registry: an action by its name, path or class."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.base_action import BaseAction
from synapse_core.config import CONFIG_NAME, ActionConfig, PluginConfig
from synapse_core.config_request import resources_of, surroundings_of
from synapse_core.discovery import ActionClass, PluginDiscovery
from synapse_core.errors import ActionNotFoundError, InvalidRequest
from synapse_core.params import validate
from synapse_core.run_folder import ActionRef, RunRequest

_PATH = re.compile(r"((?:[^\W\d]\w*\.)*[^\W\d]\w*)[.:]([^\W\d]\w*)")


def request_of(
    action: ActionClass | str | Any,
    params: Mapping[str, Any],
    root: Path | None,
    resources: Mapping[str, Any],
) -> RunRequest:
    """Return the request to run an action as a job; what the plugin's config.yaml says of it is in it.

    action: its name in config.yaml, 'module.Class', or its class. root: the plugin's folder; where there is
    none, the current one, or for a class the folder from which its module was imported.
    Raises ValidationError for parameters that do not fit a class, ActionNotFoundError for an unknown name,
    InvalidRequest where a worker could not find the action, or its parameters are not JSON.
    """
    if isinstance(action, str):
        where = root or Path.cwd()
        config = _config(where)
        name, entrypoint = _named(action, config, where)
    else:
        found = _class(action)
        if found.params_model is not None:
            validate(found.params_model, params)
        where = root or _folder_of(found)
        config = _config(where)
        name, entrypoint = found.action_name or found.__name__, f"{found.__module__}:{found.__qualname__}"
    entry = (config.actions if config else {}).get(name) or ActionConfig(name=name)
    request = RunRequest(
        run_id="",
        plugin=config.code if config else re.sub(r"[^a-z0-9_-]", "-", where.name.lower()).strip("-_"),
        plugin_version=config.version if config else "",
        root=str(where),
        actions=(ActionRef(name, entrypoint, entry.strict_results),),
        params=_plain(params),
        mode="job",
        timeout_seconds=entry.timeout_seconds,
        resources=resources_of(entry, resources),
    )
    return request if config is None else msgspec.structs.replace(request, **surroundings_of(config))


def _config(root: Path) -> PluginConfig | None:
    return PluginDiscovery.from_path(root).config if (root / CONFIG_NAME).is_file() else None


def _named(action: str, config: PluginConfig | None, root: Path) -> tuple[str, str]:
    """Return the name and 'module:Class' of an action that is given by its name, or by its path."""
    if config is not None and action in config.actions:
        module, _, name = PluginDiscovery(config, root).get_action_entrypoint(action).rpartition(".")
        return action, f"{module}:{name}"
    if match := _PATH.fullmatch(action):
        return match[2], f"{match[1]}:{match[2]}"
    known = list(config.actions) if config else []
    raise ActionNotFoundError(config.code if config else root.name, action, known)


def _class(action: Any) -> ActionClass:
    found = getattr(action, "_action_class", action)
    if isinstance(found, type) and issubclass(found, BaseAction):
        return found
    raise InvalidRequest(
        f"{action!r} is not an action.", hint="Pass a subclass of BaseAction or the name of an action."
    )


def _folder_of(action: ActionClass) -> Path:
    """Return the folder from which an action's module can be imported."""
    file = getattr(sys.modules.get(action.__module__), "__file__", None)
    if action.__module__ == "__main__" or file is None or "<locals>" in action.__qualname__:
        raise InvalidRequest(
            f"A worker cannot import {action.__qualname__}: it is not in a module of its own.",
            hint="Put the class into a module of the plugin's folder, and pass that folder as working_dir.",
        )
    place = Path(file).resolve()
    depth = action.__module__.count(".") + (place.name == "__init__.py")
    return place.parents[depth]


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as they are after the way through JSON."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(params)))
    except (TypeError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"The parameters cannot be written as JSON: {error}.") from error
    return plain
