"""Datasets of annotated images: reading them, converting them, and telling what a conversion loses.

The names below are what plugins were promised; each is imported from its module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synapse_core.datasets.conversion import ConversionResult, convert
    from synapse_core.datasets.converters import (
        DatasetFormat,
        DMVersion,
        FromDMConverter,
        ToDMConverter,
        convert_v1_to_v2,
        convert_v2_to_v1,
        get_converter,
    )

_HOMES = {
    "ConversionResult": "conversion",
    "DMVersion": "converters",
    "DatasetFormat": "converters",
    "FromDMConverter": "converters",
    "ToDMConverter": "converters",
    "convert": "conversion",
    "convert_v1_to_v2": "converters",
    "convert_v2_to_v1": "converters",
    "get_converter": "converters",
}

__all__ = [
    "ConversionResult",
    "DMVersion",
    "DatasetFormat",
    "FromDMConverter",
    "ToDMConverter",
    "convert",
    "convert_v1_to_v2",
    "convert_v2_to_v1",
    "get_converter",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
