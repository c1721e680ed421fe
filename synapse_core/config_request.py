"""What a plugin's config.yaml puts into the request of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synapse_core.config import ActionConfig, PluginConfig
from synapse_core.errors import InvalidRequest
from synapse_core.run_folder import Packages, Resources

_RESOURCES = ("num_cpus", "num_gpus", "memory")


def surroundings_of(config: PluginConfig) -> dict[str, Any]:
    """Return the fields of a RunRequest that say in which surroundings the plugin's runs take place."""
    return {
        "environment": {name: value for name, value in config.env.items() if value is not None},
        # A variable without a value is passed on from whoever starts the run.
        "passed_names": tuple(name for name, value in config.env.items() if value is None),
        "runtime_env": config.runtime_env,
        "packages": Packages(
            config.package_manager.value,
            tuple(config.package_manager_options),
            wheels_dir=config.wheels_dir,
        ),
    }


def resources_of(entry: ActionConfig, asked: Mapping[str, Any]) -> Resources:
    """Return what a run is to have: what the call asks for over what config.yaml does.

    asked: num_cpus, num_gpus and memory (bytes). Raises InvalidRequest for anything else.
    """
    unknown = [key for key in asked if key not in _RESOURCES]
    wrong = [
        key
        for key in _RESOURCES
        if key in asked and (isinstance(asked[key], bool) or not isinstance(asked[key], int | float))
    ]
    negative = [key for key in _RESOURCES if key in asked and key not in wrong and asked[key] < 0]
    if unknown or wrong or negative:
        raise InvalidRequest(
            f"resources: {', '.join(unknown + wrong + negative)} cannot be used; "
            "it takes num_cpus, num_gpus and memory (bytes), each a number of at least 0.",
            {"asked": asked},
        )
    merged = {**entry.resources.model_dump(include=set(_RESOURCES), exclude_none=True), **asked}
    if "memory" in merged:
        merged["memory"] = int(merged["memory"])
    return Resources(**merged)
