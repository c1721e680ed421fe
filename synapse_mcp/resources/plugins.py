"""Resources about plugins."""

from __future__ import annotations

from typing import Any

from synapse_core.home import Home
from synapse_mcp.settings import Settings
from synapse_mcp.tools.plugins import PluginRecord, plugin_record


def plugin(home: Home, settings: Settings, code: str) -> PluginRecord:
    """A plugin: its actions and issues."""
    return plugin_record(home, code)


def action_schema(home: Home, settings: Settings, code: str, action: str) -> dict[str, Any]:
    """The parameters and the result of an action, as whole JSON schemas."""
    spec = home.registry.spec(code, action)
    return {
        "plugin": spec.plugin,
        "action": spec.name,
        "params_schema": spec.params_schema or {"type": "object"},
        "result_schema": spec.result_schema,
    }
