"""JSON schemas as an agent is shown them: every parameter with its type, in as few words as have to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from synapse_mcp.records import fitted

_SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames")
_OF_TYPES = frozenset((*_SCHEMAS_BY_NAME, *_LISTS_OF_SCHEMAS, *_SCHEMAS, "type", "enum", "$ref", "required"))


def json_length(value: Any) -> int:
    """Return how many characters a value takes in an answer."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def shown_schema(schema: dict[str, Any] | None, most_chars: int) -> Any:
    """Return a schema whose JSON is at most `most_chars` long, None where there is none.

    Titles are left out, and that a parameter whose default is null may be null. Where it is still too long,
    descriptions are shortened, then left out, then all but names and types, then types; `$comment` says so.
    """
    if schema is None:
        return None
    plain = _walked(schema, _plain)
    if json_length(plain) <= most_chars:
        return plain
    # The model's own description goes first: the action's is told beside it.
    plain.pop("description", None)
    shorter: Callable[[dict[str, Any]], dict[str, Any]]
    for shorter, told in (
        (partial(_described, most_chars=64), "Descriptions are shortened."),
        (partial(_described, most_chars=28), "Descriptions are shortened."),
        (_undescribed, "Descriptions are left out."),
        (_bare, "Only names and types are shown."),
        (_only_names, "Only names are shown."),
    ):
        short = {"$comment": told, **_walked(plain, shorter)}
        if json_length(short) <= most_chars:
            return short
    return fitted(short, most_chars)


def _walked(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a schema with every schema in it changed. Values, defaults among them, are no schemas."""
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _SCHEMAS_BY_NAME and isinstance(value, dict):
            found[key] = {name: _walked(one, change) for name, one in value.items()}
        elif key in _LISTS_OF_SCHEMAS and isinstance(value, list):
            found[key] = [_walked(one, change) for one in value]
        else:
            found[key] = _walked(value, change) if key in _SCHEMAS else value
    return change(found)


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in schema.items() if key != "title"}
    if found.get("additionalProperties") is True:
        del found["additionalProperties"]
    options = found.get("anyOf")
    if (
        isinstance(options, list)
        and "default" in found
        and found["default"] is None
        and {"type": "null"} in options
    ):
        others = [option for option in options if option != {"type": "null"}]
        if len(others) == 1:
            del found["anyOf"], found["default"]
            return {**others[0], **found}
    return found


def _described(schema: dict[str, Any], most_chars: int) -> dict[str, Any]:
    text = schema.get("description")
    if not isinstance(text, str) or len(text) <= most_chars:
        return schema
    return {**schema, "description": f"{text[:most_chars].rstrip()}…"}


def _undescribed(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "description"}


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key in _OF_TYPES}


def _only_names(schema: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {name: {} for name in schema["properties"]}} if "properties" in schema else {}
