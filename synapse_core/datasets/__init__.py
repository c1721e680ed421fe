"""Datasets of annotated images: reading them, converting them, and telling what a conversion loses.

The names below are the public API, among them what plugins were promised. Each is imported from its module
when it is first used, so that nobody waits for numpy or Pillow who needs neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synapse_core.datasets.comparison import Comparison, compare
    from synapse_core.datasets.conversion import ConversionResult, check_conversion, convert
    from synapse_core.datasets.converters import (
        DatasetFormat,
        DMVersion,
        FromDMConverter,
        ToDMConverter,
        convert_v1_to_v2,
        convert_v2_to_v1,
        get_converter,
    )
    from synapse_core.datasets.inspection import DatasetSummary, inspect
    from synapse_core.datasets.model import Annotation, ClassDef, Header, Item
    from synapse_core.datasets.options import ConvertOptions
    from synapse_core.datasets.preview import preview
    from synapse_core.datasets.reading import read
    from synapse_core.datasets.validation import ValidationReport, validate

_HOMES = {
    "Annotation": "model",
    "ClassDef": "model",
    "Comparison": "comparison",
    "ConversionResult": "conversion",
    "ConvertOptions": "options",
    "DMVersion": "converters",
    "DatasetFormat": "converters",
    "DatasetSummary": "inspection",
    "FromDMConverter": "converters",
    "Header": "model",
    "Item": "model",
    "ToDMConverter": "converters",
    "ValidationReport": "validation",
    "check_conversion": "conversion",
    "compare": "comparison",
    "convert": "conversion",
    "convert_v1_to_v2": "converters",
    "convert_v2_to_v1": "converters",
    "get_converter": "converters",
    "inspect": "inspection",
    "preview": "preview",
    "read": "reading",
    "validate": "validation",
}

__all__ = [
    "Annotation",
    "ClassDef",
    "Comparison",
    "ConversionResult",
    "ConvertOptions",
    "DMVersion",
    "DatasetFormat",
    "DatasetSummary",
    "FromDMConverter",
    "Header",
    "Item",
    "ToDMConverter",
    "ValidationReport",
    "check_conversion",
    "compare",
    "convert",
    "convert_v1_to_v2",
    "convert_v2_to_v1",
    "get_converter",
    "inspect",
    "preview",
    "read",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
