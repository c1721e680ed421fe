"""Checking parameters against an action's model, and telling every problem at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
from pydantic.errors import PydanticUserError

from synapse_core.errors import ValidationError, nearest

UNKNOWN_KEY = "unknown_key"

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
        raise invalid_params(model, problems_of(error, model)) from error


def check(model: type[pydantic.BaseModel] | None, params: Mapping[str, Any]) -> None:
    """Check what a caller sent before anything runs: as `validate`, and no key may be unknown.

    A library call may pass keys that the model ignores; an agent that does so has misspelt one.
    Raises ValidationError with one entry for each problem.
    """
    if model is None:
        return
    try:
        model.model_validate(dict(params), context={"client": None}, extra="forbid")
        return
    except pydantic.ValidationError as error:
        problems = [problem for problem in problems_of(error, model) if problem["type"] == UNKNOWN_KEY]
    try:
        model.model_validate(dict(params), context={"client": None})
    except pydantic.ValidationError as error:
        told = {problem["path"] for problem in problems}
        problems += [problem for problem in problems_of(error, model) if problem["path"] not in told]
    if problems:
        raise invalid_params(model, problems)


def params_schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of what a caller may send."""
    return model.model_json_schema(mode="validation")


def names_of(model: type[pydantic.BaseModel] | None) -> tuple[str, ...]:
    """Return every name under which a caller may send a parameter, aliases among them."""
    names: list[str] = []
    for name, field in ({} if model is None else model.model_fields).items():
        alias = field.validation_alias or field.alias
        choices = alias.choices if isinstance(alias, pydantic.AliasChoices) else [alias]
        aliases = [choice for choice in choices if isinstance(choice, str)]
        config = {} if model is None else model.model_config
        if not aliases or config.get("populate_by_name") or config.get("validate_by_name"):
            names.append(name)
        names += aliases
    return tuple(names)


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


def problems_of(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> list[dict[str, Any]]:
    """Return pydantic's findings as `{path, message, type, sent?, allowed?, did_you_mean?}`, one a path.

    A key that no model of its place refuses is no finding.
    """
    schema = _schema_or_nothing(model)
    problems: dict[str, dict[str, Any]] = {}
    for finding in error.errors(include_url=False, include_context=False):
        if finding["type"] == "extra_forbidden":
            problem = _unknown_key(finding["loc"], finding["input"], schema)
        else:
            problem = _problem(finding, schema)
        if problem is None:
            continue
        first = problems.setdefault(problem["path"], problem)
        if problem["message"] not in first["message"]:  # the next member of a union does not fit either
            first["message"] += f", or: {problem['message']}"
    return list(problems.values())


def _problem(finding: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    place, fields = _place_in(schema, finding["loc"])
    problem: dict[str, Any] = {
        "path": _path_text(place),
        "message": finding["msg"],
        "type": finding["type"],
    }
    if finding["type"] != "missing":
        problem["sent"] = _shown(finding["input"])
    if place and (allowed := " or ".join(dict.fromkeys(describe_schema(field, schema) for field in fields))):
        problem["allowed"] = allowed
    return problem


def _unknown_key(
    location: tuple[int | str, ...], value: Any, schema: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the problem with a key that a model does not know, None where it may stand there."""
    place, fields = _place_in(schema, location[:-1])
    models = [member for field in fields for member in _members(field, schema)]
    known = list(dict.fromkeys(name for member in models for name in member.get("properties", {})))
    key = location[-1]
    if key in known or any(member.get("additionalProperties") for member in models):
        return None
    problem: dict[str, Any] = {
        "path": _path_text((*place, key)),
        "message": "there is no such parameter",
        "type": UNKNOWN_KEY,
        "sent": _shown(value),
        "allowed": ", ".join(known) or "no parameters",
    }
    if near := nearest(str(key), known, most=1):
        problem["did_you_mean"] = near[0]
    return problem


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


def _place_in(
    schema: Mapping[str, Any], location: tuple[int | str, ...]
) -> tuple[tuple[int | str, ...], list[Mapping[str, Any]]]:
    """Return where a pydantic location points at: the path that a caller wrote, and the schemas of its place.

    A location also names the members of unions that were tried; no caller wrote those.
    """
    place: tuple[int | str, ...] = ()
    fields: list[Mapping[str, Any]] = [schema]
    for part in location:
        members = [member for field in fields for member in _members(field, schema)]
        below = [child for member in members if (child := _child(member, part)) is not None]
        if not below and len(members) > 1:
            continue
        place = (*place, part)
        fields = below
    return place, fields


def _members(field: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a field may be: the members of a union, or the one schema that it is."""
    field = _resolved(field, root)
    options = field.get("anyOf") or field.get("oneOf")
    return [member for option in options for member in _members(option, root)] if options else [field]


def _child(schema: Mapping[str, Any], part: int | str) -> Mapping[str, Any] | None:
    """Return the schema of an item or a key, None where there is none."""
    if isinstance(part, int):
        child = schema.get("items")
    else:
        child = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
    return child if isinstance(child, Mapping) else None


def _path_text(place: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in place)


def _schema_or_nothing(model: type[pydantic.BaseModel]) -> Mapping[str, Any]:
    """Return a model's schema, an empty one where its types have none: a problem is told all the same."""
    try:
        return params_schema(model)
    except PydanticUserError:
        return {}


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
