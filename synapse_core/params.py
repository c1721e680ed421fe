"""Checking parameters against an action's model, and telling every problem at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic

from synapse_core.errors import ValidationError, nearest

_SENT_CHARS = 80


def validate(
    model: type[pydantic.BaseModel], params: Mapping[str, Any], client: Any = None
) -> pydantic.BaseModel:
    """Return the parameters as an instance of `model`.

    client: the backend; validators find it as `info.context['client']`.
    Raises ValidationError with one entry for each problem.
    """
    try:
        return model.model_validate(dict(params), context={"client": client})
    except pydantic.ValidationError as error:
        raise invalid_params(model, problems_of(error, params_schema(model))) from error


def check(model: type[pydantic.BaseModel] | None, params: Mapping[str, Any]) -> None:
    """Check what a caller sent before anything runs: as `validate`, and no key may be unknown.

    A library call may pass keys that the model ignores; an agent that does so has misspelt one.
    Raises ValidationError with one entry for each problem.
    """
    if model is None:
        return
    schema = params_schema(model)
    problems = list(_unknown_keys(params, schema, schema))
    try:
        model.model_validate(dict(params), context={"client": None})
    except pydantic.ValidationError as error:
        told = {problem["path"] for problem in problems}
        problems += [problem for problem in problems_of(error, schema) if problem["path"] not in told]
    if problems:
        raise invalid_params(model, problems)


def params_schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of what a caller may send."""
    return model.model_json_schema(mode="validation")


def invalid_params(model: type[pydantic.BaseModel], problems: list[dict[str, Any]]) -> ValidationError:
    """Return the error that lists all `problems` in a text that stands alone."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [f"- {problem_line(problem)}" for problem in problems]
    return ValidationError(
        f"{count} with the parameters ({model.__name__}):\n" + "\n".join(lines), problems=problems
    )


def problem_line(problem: Mapping[str, Any]) -> str:
    """Return one problem as one line of text."""
    line = f"{problem['path'] or 'parameters'}: {problem['message']}"
    if "sent" in problem:
        line += f"; sent {problem['sent']}"
    if "allowed" in problem:
        line += f"; allowed: {problem['allowed']}"
    if "did_you_mean" in problem:
        line += f". Did you mean {problem['did_you_mean']}?"
    return line


def problems_of(error: pydantic.ValidationError, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return pydantic's findings as `{path, message, type, sent?, allowed?, did_you_mean?}`."""
    problems = []
    for finding in error.errors(include_url=False, include_context=False):
        location = finding["loc"]
        problem: dict[str, Any] = {
            "path": ".".join(str(part) for part in location),
            "message": finding["msg"],
            "type": finding["type"],
        }
        if finding["type"] != "missing":
            problem["sent"] = _shown(finding["input"])
        field = _schema_at(schema, location)
        if field is not None and (allowed := describe_schema(field, schema)):
            problem["allowed"] = allowed
        if finding["type"] == "extra_forbidden":
            parent = _schema_at(schema, location[:-1]) or {}
            problem.pop("allowed", None)
            problem |= _unknown_key_hint(str(location[-1]), parent)
        problems.append(problem)
    return problems


def describe_schema(field: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Return what a field takes in words: 'integer from 1 to 1000', 'one of "a", "b"'."""
    field = _resolved(field, root)
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return "one of " + ", ".join(json.dumps(value) for value in field["enum"])
    if options := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(describe_schema(option, root) for option in options)
    kind = str(field.get("type", "any value"))
    if kind == "array" and "items" in field:
        kind = f"array of {describe_schema(field['items'], root)}"
    return " ".join([kind, *_bounds(field)])


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        yield f"from {low} to {high}"
    elif low is not None:
        yield f"of at least {low}"
    elif high is not None:
        yield f"of at most {high}"
    if "exclusiveMinimum" in field:
        yield f"above {field['exclusiveMinimum']}"
    if "exclusiveMaximum" in field:
        yield f"below {field['exclusiveMaximum']}"
    if "multipleOf" in field:
        yield f"in multiples of {field['multipleOf']}"
    if "minLength" in field or "maxLength" in field:
        yield f"with {field.get('minLength', 0)} to {field.get('maxLength', 'any number of')} characters"
    if "minItems" in field or "maxItems" in field:
        yield f"with {field.get('minItems', 0)} to {field.get('maxItems', 'any number of')} items"
    if "pattern" in field:
        yield f"matching {field['pattern']}"


def _unknown_keys(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield a problem for each key of `value`, at any depth, that its model would silently drop."""
    schema = _resolved(schema, root)
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or properties is None:
        return
    for key, entry in value.items():
        where = f"{path}{key}"
        if key in properties:
            yield from _unknown_keys(entry, properties[key], root, f"{where}.")
        elif schema.get("additionalProperties") in (None, False):
            yield {
                "path": where,
                "message": "there is no such parameter",
                "type": "unknown_key",
                "sent": _shown(entry),
                **_unknown_key_hint(str(key), schema),
            }


def _unknown_key_hint(key: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    known = list(schema.get("properties", {}))
    hint: dict[str, Any] = {"allowed": ", ".join(known) or "no parameters"}
    if near := nearest(key, known, most=1):
        hint["did_you_mean"] = near[0]
    return hint


def _schema_at(schema: Mapping[str, Any], location: tuple[int | str, ...]) -> Mapping[str, Any] | None:
    """Return the part of a JSON schema that a pydantic location points at, None where it is not plain."""
    current: Mapping[str, Any] = _resolved(schema, schema)
    for part in location:
        child = current.get("items") if isinstance(part, int) else current.get("properties", {}).get(part)
        if not isinstance(child, Mapping):
            return None
        current = _resolved(child, schema)
    return current


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        definition = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        return {**definition, **{key: entry for key, entry in schema.items() if key != "$ref"}}
    return schema


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SENT_CHARS else text[: _SENT_CHARS - 1] + "…"
