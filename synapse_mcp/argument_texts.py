"""What no text in a tool's arguments may be: endless, or with a NUL in it, which no path or name can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Longer than any path. What is large by nature, such as inputs of a model, comes in objects and plain lists.
MOST_CHARS = 4096


def unfit_text(arguments: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the texts of these arguments, None where nothing is.

    properties: of the tool's schema. Texts inside objects are left to what takes the objects.
    """
    for name, text in _texts(arguments, properties):
        if len(text) > MOST_CHARS:
            return f"{name} is {len(text):,} characters long; at most {MOST_CHARS:,} are taken."
        if "\0" in text:
            return f"{name} has a NUL character in it: {text[:40]!r}."
    return None


def _texts(arguments: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in arguments.items():
        field = properties.get(name, {})
        if isinstance(value, str) and field.get("type") in (None, "string"):
            yield name, value
        elif isinstance(value, list) and field.get("items", {}).get("type") == "string":
            yield from (
                (f"{name}[{index}]", each) for index, each in enumerate(value) if isinstance(each, str)
            )
