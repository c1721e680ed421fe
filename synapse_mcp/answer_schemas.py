"""The JSON schemas of what the tools answer."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any

import msgspec

from synapse_mcp.boundary import ToolSpec
from synapse_mcp.records import RunRecord

# Tools whose answer is made of a run when it has ended, or of a picture: their handlers build it themselves.
_OF_RUNS = ("run_action", "run_pipeline", "convert_dataset", "deploy_model")
_REF = "#/$defs/{name}"


class ErrorRecord(msgspec.Struct):
    """What a failed call answers under `error`."""

    code: str
    message: str
    hint: str | None
    retryable: bool
    details: Any = None


def answer_schemas(tools: Iterable[ToolSpec]) -> dict[str, Any]:
    """Return {"tools": {name: schema of its answer}, "error": schema, "$defs": what they share}.

    A tool that answers with text or a picture only has no entry.
    """
    by_tool = {spec.handler.__name__: _records_of(spec) for spec in tools}
    kinds = list(dict.fromkeys([ErrorRecord, *(kind for found in by_tool.values() for kind in found)]))
    schemas, definitions = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    told = {
        name: schema_of[found[0]] if len(found) == 1 else {"anyOf": [schema_of[kind] for kind in found]}
        for name, found in by_tool.items()
        if found
    }
    return {"tools": told, "error": schema_of[ErrorRecord], "$defs": definitions}


def _records_of(spec: ToolSpec) -> list[type]:
    """Return the records that a tool can answer with."""
    returned = typing.get_type_hints(spec.handler)["return"]
    kinds = [kind for kind in typing.get_args(returned) or (returned,) if _is_record(kind)]
    return [RunRecord, *kinds] if spec.handler.__name__ in _OF_RUNS else kinds


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
