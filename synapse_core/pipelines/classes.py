"""Actions of a pipeline that are given as classes: what is known of them, and how a worker finds them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synapse_core import params as parameters
from synapse_core.base_action import BaseAction
from synapse_core.config import CONFIG_NAME, ActionConfig, PluginConfig
from synapse_core.config_request import resources_of, surroundings_of
from synapse_core.describe import ActionSpec, spec_of
from synapse_core.discovery import ActionClass, PluginDiscovery
from synapse_core.errors import InvalidRequest
from synapse_core.pipelines.plan import Found
from synapse_core.registry import Registry
from synapse_core.run_folder import ActionRef, RunRequest


def as_class(action: Any) -> ActionClass | None:
    """Return the class that an action is, or that an @action function stands for; None for anything else."""
    found = getattr(action, "_action_class", action)
    return found if isinstance(found, type) and issubclass(found, BaseAction) else None


def title_of(action: Any) -> str:
    """Return the name that an action bears by itself, which for a class without one is the class's."""
    found = as_class(action)
    if found is not None:
        return found.action_name or found.__name__
    if not isinstance(action, str):
        raise InvalidRequest(
            f"{action!r} is not an action.",
            hint="Give a subclass of BaseAction, an @action function, or a name such as 'plugin/action'.",
        )
    return action.rpartition("/")[2]


def spec_of_class(action: ActionClass, plugin: str = "") -> ActionSpec:
    """Return what can be told of a class that is here already."""
    config = ActionConfig(name=title_of(action))
    return spec_of(action, plugin or action.__module__, config.name, config)


def find_class(registry: Registry, action: ActionClass) -> Found:
    """Return an action that is given as a class.

    Raises InvalidRequest for a class that another process could not import.
    """
    root = _root_of(action)
    config = _plugin_at(root)
    entrypoint = f"{action.__module__}:{action.__name__}"
    plugin = action.__module__.partition(".")[0] if config is None else config.code
    name, entry = _entry_of(config, entrypoint) or (title_of(action), ActionConfig(name=title_of(action)))

    def request(mode: str, resources: dict[str, Any]) -> RunRequest:
        return RunRequest(
            run_id="",
            plugin=plugin,
            plugin_version=config.version if config else "",
            root=str(root),
            content=registry.content(root) if config else _digest(action),
            actions=(ActionRef(name, entrypoint, entry.strict_results or action.strict_results),),
            mode=mode,
            resources=resources_of(entry, resources),
            timeout_seconds=entry.timeout_seconds,
            **(surroundings_of(config) if config else {}),
        )

    def check(params: Mapping[str, Any]) -> None:
        parameters.check(action.params_model, params)

    return Found(spec_of(action, plugin, name, entry), check, entry.method.value, request)


def _root_of(action: ActionClass) -> Path:
    """Return the folder from which a worker imports the class's module."""
    module = action.__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__" or file is None:
        raise InvalidRequest(
            f"{action.__name__} is defined in {module}, which no worker can import.",
            hint="Put the class into a module (a file of its own) and import it from there, or into a plugin "
            "and name it as 'plugin/action'.",
        )
    if getattr(sys.modules[module], action.__name__, None) is None or "." in action.__qualname__:
        raise InvalidRequest(
            f"{action.__qualname__} of {module} is not at the top level of its module, where a worker looks "
            "for it.",
            hint="Move the class out of the function or class that it is defined in.",
        )
    path = Path(file).resolve()
    depth = len(module.split(".")) - (path.name != "__init__.py")
    return path.parents[depth]


def _plugin_at(root: Path) -> PluginConfig | None:
    return PluginDiscovery.from_path(root).config if (root / CONFIG_NAME).is_file() else None


def _entry_of(config: PluginConfig | None, entrypoint: str) -> tuple[str, ActionConfig] | None:
    actions = {} if config is None else config.actions
    return next(((name, entry) for name, entry in actions.items() if entry.entrypoint == entrypoint), None)


def _digest(action: ActionClass) -> str:
    """Return what changes with the file that a class is in."""
    file = sys.modules[action.__module__].__file__
    assert file is not None, "it was looked for before"
    return hashlib.sha256(file.encode() + Path(file).read_bytes()).hexdigest()[:32]
