"""Where a model comes from, as far as the run knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from synapse_core.context import RuntimeContext
from synapse_core.events import to_plain
from synapse_core.run_folder import RunFolder


def plugin_of(ctx: RuntimeContext) -> tuple[str, str]:
    """Return the code and the version of the plugin, empty where the run is not recorded."""
    request = RunFolder(ctx.run_folder).request() if ctx.run_folder is not None else None
    return ("", "") if request is None else (request.plugin, request.plugin_version)


def plain_params(params: Any) -> dict[str, Any]:
    """Return an action's parameters as plain JSON data."""
    if isinstance(params, BaseModel):
        return params.model_dump(mode="json")
    plain: dict[str, Any] = to_plain(dict(params)) if isinstance(params, Mapping) else {}
    return plain
