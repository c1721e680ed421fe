"""Finding plugins and learning what their actions take."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar

import msgspec
from mcp.server.mcpserver import Context
from pydantic import Field

from synapse_core.describe import ActionSpec, Description
from synapse_core.enums import PluginCategory
from synapse_core.errors import InvalidRequest
from synapse_core.home import Home
from synapse_core.registry import Plugin
from synapse_mcp.app import App
from synapse_mcp.lookup import app_of
from synapse_mcp.shown_schemas import json_length, shown_schema

_DESCRIPTION_CHARS = 400
# What an answer has for an action's description, example and schemas, and what is the result's of it.
_ACTION_CHARS = 3_800
_RESULT_SCHEMA_CHARS = 500
_ISSUE_CHARS = 300
_LINE_CHARS = 200

# A query for "greeting" finds "greet"; shorter words begin too many others.
_WORD = re.compile(r"\w+")
_SHORTEST_BEGINNING = 4


class PluginLine(msgspec.Struct):
    code: str
    name: str
    version: str
    category: str
    actions: list[str]
    ok: bool
    issues: int


class PluginPage(msgspec.Struct, kw_only=True, omit_defaults=True):
    plugins: list[PluginLine]
    total: int
    next_cursor: str | None = None
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("plugins",)


class IssueRecord(msgspec.Struct, omit_defaults=True):
    severity: str
    message: str
    hint: str | None = None
    file: str | None = None
    line: int | None = None


class ActionLine(msgspec.Struct, omit_defaults=True):
    name: str
    method: str
    description: str = ""


class PluginRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    code: str
    name: str
    version: str
    category: str
    description: str
    root: str
    ok: bool | None
    actions: list[ActionLine]
    issues: list[IssueRecord] = []
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("name", "description", "actions", "issues")


class ActionRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    plugin: str
    action: str
    description: str
    method: str
    params_schema: Any
    result_schema: Any = None
    input_type: str | None = None
    output_type: str | None = None
    example: dict[str, Any]
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("description", "params_schema", "result_schema", "example")


async def list_plugins(
    ctx: Context[App, Any],
    query: str | None = None,
    category: str | None = None,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> PluginPage:
    """Plugins, also broken ones. query: words in any field."""
    known = [each.value for each in PluginCategory]
    if category is not None and category not in known:
        raise InvalidRequest(f"There is no category {category!r}; the categories are {', '.join(known)}.")
    return await app_of(ctx).call(lambda home: _page(home, query, category, limit, cursor))


async def describe_plugin(
    ctx: Context[App, Any], plugin: str, action: str | None = None
) -> PluginRecord | ActionRecord:
    """A plugin's actions and issues; with action: its parameters and an example call."""
    app = app_of(ctx)
    if action is not None:
        name = action
        return await app.call(lambda home: _action_record(home.registry.spec(plugin, name)))
    return await app.call(lambda home: plugin_record(home, plugin))


def _page(home: Home, query: str | None, category: str | None, limit: int, cursor: str | None) -> PluginPage:
    found = [
        plugin
        for plugin in home.registry.plugins()
        if _matches(plugin, (query or "").lower().split()) and category in (None, _category(plugin))
    ]
    if cursor is not None and not cursor.startswith("after:"):
        raise InvalidRequest(
            "This cursor is not one of ours.", hint="Pass next_cursor of the page before, unchanged."
        )
    after = (cursor or "").removeprefix("after:")
    rest = [plugin for plugin in found if plugin.code > after]
    page = PluginPage(
        plugins=[_line(plugin) for plugin in rest[:limit]],
        total=len(found),
        next="describe_plugin(plugin) shows its actions.",
    )
    if len(rest) > limit:
        page.next_cursor = f"after:{rest[limit - 1].code}"
    if not found and (query or category):
        page.next = "Nothing matches; list_plugins() without a filter shows all."
    return page


def _matches(plugin: Plugin, words: list[str]) -> bool:
    """Tell whether each word is in what a plugin says of itself, or begins with a word of that."""
    config = plugin.config
    said = [plugin.code]
    if config:
        said += [config.name, config.description]
        said += [f"{name} {action.description}" for name, action in config.actions.items()]
    text = " ".join(said).lower()
    beginnings = tuple(word for word in _WORD.findall(text) if len(word) >= _SHORTEST_BEGINNING)
    return all(word in text or word.startswith(beginnings) for word in words)


def _category(plugin: Plugin) -> str:
    return (plugin.config.category if plugin.config else PluginCategory.CUSTOM).value


def _line(plugin: Plugin) -> PluginLine:
    config = plugin.config
    return PluginLine(
        code=plugin.code,
        name=config.name if config else plugin.code,
        version=config.version if config else "",
        category=_category(plugin),
        actions=list(config.actions)[:12] if config else [],
        ok=plugin.is_ok,
        issues=len(plugin.issues),
    )


def plugin_record(home: Home, code: str) -> PluginRecord:
    """Return a plugin as an agent sees it. Raises PluginNotFound."""
    plugin = home.registry.get(code)
    config = plugin.config
    description = home.registry.describe(code) if config else Description()
    issues = [*plugin.issues, *description.issues]
    described = {spec.name: spec for spec in description.actions}
    actions = [
        ActionLine(name, entry.method.value, _first_line(entry.description or _doc(described.get(name))))
        for name, entry in (config.actions if config else {}).items()
    ]
    first = next(iter(described), None)
    return PluginRecord(
        code=plugin.code,
        name=config.name if config else plugin.code,
        version=config.version if config else "",
        category=_category(plugin),
        description=_cut(config.description, _DESCRIPTION_CHARS) if config else "",
        root=str(plugin.root),
        ok=plugin.is_ok and not description.issues,
        actions=actions[:30],
        issues=[
            IssueRecord(issue.severity, issue.message[:_ISSUE_CHARS], issue.hint, issue.file, issue.line)
            for issue in issues[:6]
        ],
        next=f'describe_plugin(plugin="{code}", action="{first}") shows its parameters.'
        if first
        else "Repair the issues above, then call describe_plugin again.",
    )


def _action_record(spec: ActionSpec) -> ActionRecord:
    example = {"plugin": spec.plugin, "action": spec.name, "params": example_params(spec.params_schema or {})}
    description = _cut(spec.description, _DESCRIPTION_CHARS)
    room = _ACTION_CHARS - len(description) - 2 * json_length(example)
    params = shown_schema(spec.params_schema or {"type": "object"}, room - _RESULT_SCHEMA_CHARS)
    result = shown_schema(spec.result_schema, max(_RESULT_SCHEMA_CHARS, room - json_length(params)))
    return ActionRecord(
        plugin=spec.plugin,
        action=spec.name,
        description=description,
        method=spec.method,
        params_schema=params,
        result_schema=result,
        input_type=spec.input_type,
        output_type=spec.output_type,
        example=example,
        next=f"run_action({json.dumps(example, ensure_ascii=False)})",
    )


def example_params(schema: dict[str, Any]) -> dict[str, Any]:
    """Return parameters that fit the schema: what is required, with plausible values."""
    properties = schema.get("properties", {})
    return {
        name: _example(properties[name], schema) for name in schema.get("required", []) if name in properties
    }


def _example(field: dict[str, Any], root: dict[str, Any]) -> Any:
    if "$ref" in field:
        field = {**root.get("$defs", {}).get(field["$ref"].rsplit("/", 1)[-1], {}), **field}
    for key in ("examples", "enum"):
        if field.get(key):
            return field[key][0]
    for key in ("const", "default"):
        if key in field:
            return field[key]
    if options := field.get("anyOf") or field.get("oneOf"):
        return _example(options[0], root)
    kind = field.get("type")
    if kind in ("integer", "number"):
        low = field.get("minimum", field.get("exclusiveMinimum"))
        return (low if "minimum" in field else low + 1) if low is not None else 1
    if kind == "object":
        return example_params({**field, "$defs": root.get("$defs", {})})
    if kind == "array":
        return [_example(field.get("items", {}), root)] if field.get("minItems") else []
    return {"boolean": False, "null": None}.get(
        str(kind), "text" if field.get("minLength", 0) <= 4 else "example text"
    )


def _first_line(text: str) -> str:
    return _cut(text.strip().split("\n", 1)[0], _LINE_CHARS)


def _cut(text: str, most_chars: int) -> str:
    return text if len(text) <= most_chars else f"{text[: most_chars - 1].rstrip()}…"


def _doc(spec: ActionSpec | None) -> str:
    return spec.description if spec else ""
