"""What a run can ask a person to fill in: a flat form, as a model, as a JSON schema, and back again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from synapse_core.errors import CannotAsk

# What clients can show: kind of a field -> what may be said of it.
_TOLD = ("type", "title", "description", "default")
_LIMITS = ("minimum", "maximum", "minLength", "maxLength")
_FORMATS = ("email", "uri", "date", "date-time")
_MOST_SCHEMA_CHARS = 6_000


def form_schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Return the flat JSON schema of a form: texts, numbers, yes or no, and choices of texts.

    Limits that no client knows are left out; the model itself still holds to them.
    Raises CannotAsk for a model with another kind of field, and for what is no model.
    """
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        raise CannotAsk(f"{model!r} is no pydantic model, so it is not clear what is asked for.")
    whole = model.model_json_schema(mode="validation")
    definitions = whole.get("$defs", {})
    fields = {
        name: _field(f"{model.__name__}.{name}", field, definitions)
        for name, field in whole.get("properties", {}).items()
    }
    schema: dict[str, Any] = {"type": "object", "properties": fields}
    if required := whole.get("required"):
        schema["required"] = required
    if len(json.dumps(schema)) > _MOST_SCHEMA_CHARS:
        raise CannotAsk(f"{model.__name__} is too long a form: at most {_MOST_SCHEMA_CHARS:,} characters.")
    return schema


def form_model(schema: Mapping[str, Any]) -> type[pydantic.BaseModel]:
    """Return a model that holds to a flat schema; what the schema does not know is passed over."""
    required = schema.get("required", ())
    fields: dict[str, Any] = {}
    for index, (name, field) in enumerate(schema.get("properties", {}).items()):
        # The names are the plugin's, and need not be names of Python.
        alias = pydantic.Field(... if name in required else None, alias=name)
        fields[f"field_{index}"] = (_kind_of(field), alias)
    return pydantic.create_model("Form", **fields)


def _field(place: str, field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return one field as clients know it. place: for the error."""
    if "$ref" in field:
        definition = definitions[field["$ref"].rsplit("/", 1)[-1]]
        field = {**definition, **{key: value for key, value in field.items() if key != "$ref"}}
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:  # something or nothing: a field that may be left out
        rest = {key: value for key, value in field.items() if key != "anyOf"}
        return _field(place, {**options[0], **rest}, definitions)
    kind = field.get("type")
    told = {key: field[key] for key in (*_TOLD, *_LIMITS) if field.get(key) is not None}
    if kind == "string" and field.get("format") in (None, *_FORMATS):
        choices = field.get("enum", [field["const"]] if "const" in field else None)
        extra = {"format": field["format"]} if "format" in field else {}
        return {**told, **extra, **({"enum": list(choices)} if choices else {})}
    if kind in ("integer", "number", "boolean") and not {"enum", "const"} & set(field):
        return told
    raise CannotAsk(
        f"{place} cannot be asked for: a field of a question is a str, int, float or bool, or a choice of "
        "texts (an Enum or Literal of str)."
    )


def _kind_of(field: Mapping[str, Any]) -> Any:
    if choices := field.get("enum"):
        return Literal[tuple(choices)]
    kind = {"string": str, "integer": int, "number": float, "boolean": bool}[field["type"]]
    limits = {
        "ge": field.get("minimum"),
        "le": field.get("maximum"),
        "min_length": field.get("minLength"),
        "max_length": field.get("maxLength"),
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Annotated[kind, pydantic.Field(strict=True, **given)]
