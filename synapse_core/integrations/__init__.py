"""What lets frameworks report by themselves: `autolog(name)` of an action, by integrations of a table.

The table stands in `base_action`, where anybody can add to it with `register_integration`.
"""

from __future__ import annotations

import importlib
from typing import Any

from synapse_core.base_action import list_integrations, register_integration

__all__ = ["disable_autolog", "list_integrations", "register_integration"]

# Where the integrations that come with the package are. Each has `activate(action)` and `deactivate()`.
_MODULES = {"ultralytics": "synapse_core.integrations.ultralytics"}


def disable_autolog(framework: str) -> None:
    """Take back what `autolog(framework)` did; nothing happens where it did nothing.

    Raises ValueError for a framework whose integration did not come with the package.
    """
    if framework not in _MODULES:
        raise ValueError(
            f"autolog({framework!r}) cannot be taken back here; known: {', '.join(sorted(_MODULES))}."
        )
    integration: Any = importlib.import_module(_MODULES[framework])
    integration.deactivate()
