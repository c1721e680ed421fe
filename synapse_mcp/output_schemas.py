"""The schemas of what tools answer, for hosts that make typed functions of tools; shown on request only."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import msgspec
from mcp.types import CallToolResult

from synapse_mcp.records import RunRecord

# They answer with a run, or with a failure that carries it.
_OF_RUNS = ("run_action", "run_pipeline", "convert_dataset", "deploy_model")


def output_schema(handler: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the JSON schema of a tool's structured answer, None where it answers with text or a picture.

    References point into the schema itself. Failures, which hosts tell by `isError`, are not in it.
    """
    named = typing.get_type_hints(handler)["return"]
    kinds = typing.get_args(named) or (named,)
    records = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    if CallToolResult in kinds and handler.__name__ in _OF_RUNS:
        records.insert(0, RunRecord)
    if not records:
        return None
    roots, definitions = msgspec.json.schema_components(records, ref_template="#/$defs/{name}")
    # The root has to be an object for every host, also where it is one of several.
    named_roots = [definitions.pop(root["$ref"].rpartition("/")[2]) for root in roots]
    schema = named_roots[0] if len(named_roots) == 1 else {"type": "object", "anyOf": named_roots}
    return {**schema, "$defs": definitions} if definitions else dict(schema)
