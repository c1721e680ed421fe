"""Synapse core: plugins whose actions run anywhere and leave a durable record.

The names below are the public API. Each is imported from its module when it is first used, so that a
supervisor, which needs none of them, starts in milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from synapse_core.base_action import BaseAction, NoResult
    from synapse_core.context import RuntimeContext
    from synapse_core.decorators import action
    from synapse_core.discovery import PluginDiscovery
    from synapse_core.environment import PluginEnvironment
    from synapse_core.runner import run_plugin

_HOMES = {
    "BaseAction": "base_action",
    "NoResult": "base_action",
    "RuntimeContext": "context",
    "action": "decorators",
    "PluginDiscovery": "discovery",
    "PluginEnvironment": "environment",
    "run_plugin": "runner",
}

__all__ = [
    "BaseAction",
    "NoResult",
    "PluginDiscovery",
    "PluginEnvironment",
    "RuntimeContext",
    "action",
    "run_plugin",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
