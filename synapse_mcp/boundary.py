"""The boundary to clients: the one place where records become answers and errors become tool errors."""

from __future__ import annotations

import base64
import copy
import difflib
import functools
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, TypeVar

import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    CallToolResult,
    ContentBlock,
    ImageContent,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import ValidationError

from synapse_core.errors import BackendError, InvalidRequest, PluginError, SynapseError
from synapse_mcp.app import App
from synapse_mcp.argument_texts import unfit_text
from synapse_mcp.call_records import audit_call
from synapse_mcp.fencing import QUOTED, with_mark
from synapse_mcp.links import has_links, links_of, without_links
from synapse_mcp.masking import masked, masked_data
from synapse_mcp.output_schemas import output_schema
from synapse_mcp.principals import Scope, current_principal
from synapse_mcp.reading import ReadingServer
from synapse_mcp.run_page import with_page

log = logging.getLogger(__name__)

# No answer is longer than this, whatever a plugin returned or printed.
MOST_CHARS = 40_000
_LIMITS = ("minimum", "exclusiveMinimum", "maximum", "maxLength", "default")
_MESSAGE_CHARS = 4_000
_CUT = "\n… (cut)"
# Where an error does not know better itself.
_CORRECT = "Correct what the message names and call again."

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True)
class ToolSpec:
    """One entry of the tool table. The handler's docstring is what the agent reads."""

    handler: Callable[..., Awaitable[Any]]
    title: str
    toolset: str
    reads_only: bool
    is_destructive: bool = False
    is_idempotent: bool = False
    is_open_world: bool = False
    # What a token has to allow, where it is not what the rest says.
    needs: Scope | None = None

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def scope(self) -> Scope:
        """What a token has to allow: admin for what cannot be taken back, read for what changes nothing."""
        if self.needs is not None:
            return self.needs
        if self.is_destructive or self.toolset == "publish":
            return "admin"
        return "read" if self.reads_only else "run"

    @property
    def annotations(self) -> ToolAnnotations:
        return ToolAnnotations(
            read_only_hint=self.reads_only,
            destructive_hint=self.is_destructive,
            idempotent_hint=self.is_idempotent or self.reads_only,
            open_world_hint=self.is_open_world,
        )


class SynapseServer(ReadingServer):
    """An MCPServer whose schemas are small and whose errors teach.

    A tool returns a record (structure and text, each complete) or a text (text only).
    app: the state that the lifespan has opened last; over HTTP there is one for all. shows_output_schemas:
    whether the list has the schemas of answers too.
    """

    app: App | None = None
    shows_output_schemas = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._specs: dict[str, ToolSpec] = {}

    def register(self, spec: ToolSpec) -> None:
        """Add a tool of the table."""
        name = spec.name
        self._specs[name] = spec
        self.add_tool(
            _answering(spec.handler),
            name=name,
            title=spec.title,
            description=" ".join((spec.handler.__doc__ or "").split()),
            annotations=spec.annotations,
            structured_output=False,
        )
        # The manager is the SDK's own; there is no public way to a registered tool's schema.
        tool = self._tool_manager.get_tool(name)
        assert tool is not None, "it was added above"
        tool.parameters = without_limits(compact_schema(tool.parameters))

    async def list_tools(self) -> list[Tool]:
        """Return the tools that the caller's token allows, all of them where there are no tokens."""
        tools = await super().list_tools()
        principal = current_principal()
        if self.shows_output_schemas:
            for tool in tools:
                if tool.name in self._specs:
                    tool.output_schema = output_schema(self._specs[tool.name].handler)
        if principal is None:
            return tools
        return [tool for tool in tools if principal.may(self._scope_of(tool.name))]

    async def _handle_list_tools(
        self, ctx: ServerRequestContext[App, Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return with_page(await super()._handle_list_tools(ctx, params), ctx)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[App, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool, and record the call; wrong names and arguments are answered with what there is."""
        began = time.perf_counter()
        result: CallToolResult | InputRequiredResult | None = None
        try:
            result = await self._call(name, arguments, context)
            return result
        finally:
            audit_call(name, arguments, time.perf_counter() - began, result, context)

    def _scope_of(self, name: str) -> Scope:
        return self._specs[name].scope if name in self._specs else "run"

    async def _call(
        self, name: str, arguments: dict[str, Any], context: Context[App, Any] | None
    ) -> CallToolResult | InputRequiredResult:
        tool = self._tool_manager.get_tool(name)
        principal = current_principal()
        if tool is not None and principal is not None and not principal.may(self._scope_of(name)):
            return failure(
                "scope_needed",
                f"{name} needs the scope {self._scope_of(name)!r}; the token of {principal.name!r} has "
                f"{', '.join(sorted(principal.scopes))}. Nothing was done.",
                hint="Ask whoever runs this server for a token with that scope.",
            )
        if tool is None:
            known = [each.name for each in await self.list_tools()]
            return failure(
                "unknown_tool", f"There is no tool {name!r}.{_nearest(name, known)}", details={"tools": known}
            )
        known = list(tool.parameters.get("properties", {}))
        if unknown := [key for key in arguments if key not in known]:
            near = "".join(_nearest(key, known) for key in unknown)
            return failure(
                "invalid_arguments",
                f"{name} has no argument {', '.join(map(repr, unknown))}.{near} "
                f"It takes: {', '.join(known) or 'nothing'}.",
                hint="Correct the argument names and call again; nothing was done.",
            )
        if problem := unfit_text(arguments, tool.parameters.get("properties", {})):
            return failure("invalid_arguments", f"{name}: {problem}", hint=_CORRECT)
        try:
            result = await super().call_tool(name, arguments, context)
            if isinstance(result, CallToolResult) and has_links(result) and context is not None:
                return without_links(result, context.protocol_version)
            return result
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                return _wrong_arguments(name, error.__cause__)
            raise


def answer(record: Any) -> CallToolResult:
    """Return a record as structure and as compact JSON, a text as text."""
    if isinstance(record, str):
        return CallToolResult(content=[TextContent(type="text", text=_cut(masked(record)))])
    plain = masked_data(_plain(record))
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    if len(text) > MOST_CHARS:
        return failure(
            "answer_too_large",
            f"The answer is {len(text):,} characters long; at most {MOST_CHARS:,} are sent.",
            hint="Ask for less: a smaller limit, one action instead of all, or a narrower filter.",
        )
    content: list[ContentBlock] = [TextContent(type="text", text=text), *links_of(record)]
    return CallToolResult(content=content, structured_content=plain)


def picture(png: bytes, text: str) -> CallToolResult:
    """Return a picture and one line about it."""
    data = base64.b64encode(png).decode()
    return CallToolResult(
        content=[
            ImageContent(type="image", data=data, mime_type="image/png"),
            TextContent(type="text", text=_cut(masked(text))),
        ]
    )


def failure(
    code: str,
    message: str,
    *,
    hint: str | None = None,
    retryable: bool = False,
    details: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    links: Sequence[ResourceLink] = (),
    is_foreign: bool = False,
) -> CallToolResult:
    """Return a tool error: a text that stands alone, and the same facts as structure.

    is_foreign: the message quotes others, and says so.
    """
    error: dict[str, Any] = {"code": code, "message": message, "hint": hint, "retryable": retryable}
    if details:
        error["details"] = _plain(details)
    text = f"{message}\nNext: {hint}" if hint else message
    if is_foreign:
        error["untrusted"] = f"message: {QUOTED}"
        text = f"({QUOTED}) {text}"
    text = f"[{code}] {text}"
    structure = masked_data({"error": error, **{name: _plain(each) for name, each in (extra or {}).items()}})
    return CallToolResult(
        content=[TextContent(type="text", text=_cut(masked(text))), *links],
        structured_content=structure if _fits(structure) else _told_short(error),
        is_error=True,
    )


def _plain(record: Any) -> Any:
    """Return a record as JSON data, with a mark on what is not our words; see `foreign` of the records."""
    plain = msgspec.to_builtins(record, str_keys=True)
    foreign = getattr(record, "foreign", ())
    return with_mark(plain, foreign) if foreign else plain


def _fits(structure: Any) -> bool:
    return len(json.dumps(structure)) <= MOST_CHARS


def _told_short(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error whose details are too long, without them."""
    told = {**error, "message": error["message"][:_MESSAGE_CHARS]}
    told.pop("details", None)
    short: dict[str, Any] = masked_data({"error": told})
    return short


def compact_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's input schema in its smallest portable form.

    References are inlined, pydantic's titles and null alternatives dropped, unknown keys refused: some
    hosts reject references, and every byte is read by the model on every turn.
    """
    definitions = schema.get("$defs", {})

    def walk(node: Any, inside_properties: bool = False) -> Any:
        if isinstance(node, list):
            return [walk(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            definition = definitions[node["$ref"].rsplit("/", 1)[-1]]
            return walk({**definition, **{key: entry for key, entry in node.items() if key != "$ref"}})
        node = _without_null(node)
        return {
            key: walk(entry, key == "properties")
            for key, entry in node.items()
            if key != "$defs" and not (key == "title" and not inside_properties and isinstance(entry, str))
        }

    compact: dict[str, Any] = walk(copy.deepcopy(dict(schema)))
    compact["additionalProperties"] = False
    return compact


def without_limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a compact schema without what an agent need not read on every turn: limits and defaults.

    It is told of a limit when it does not keep to it; what is left out has a sensible default.
    """
    fields = {
        name: {key: entry for key, entry in field.items() if key not in _LIMITS}
        for name, field in schema["properties"].items()
    }
    return {**schema, "properties": fields}


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """Return 'X or null, null by default' as plain X: leaving the argument out says the same."""
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1 and len(node["anyOf"]) == 2:
        node = {**{key: entry for key, entry in node.items() if key != "anyOf"}, **options[0]}
        if node.get("default", ...) is None:
            del node["default"]
    if node.get("type") == "object" and node.get("additionalProperties") is True:
        del node["additionalProperties"]
    return node


def _answering(handler: Handler) -> Handler:
    """Return the handler with its record made an answer and its foreseen failures made tool errors."""

    @functools.wraps(handler)
    async def call(*arguments: Any, **named: Any) -> CallToolResult:
        # An argument that is a word of Python has an alias, by which the SDK hands it over.
        named = {f"{name}_" if iskeyword(name) else name: value for name, value in named.items()}
        try:
            record = await handler(*arguments, **named)
            return record if isinstance(record, CallToolResult) else answer(record)
        except SynapseError as error:
            return failure(
                error.code,
                error.message,
                hint=error.hint or (_CORRECT if isinstance(error, InvalidRequest) else None),
                retryable=error.retryable,
                details=error.details,
                # What a plugin's code or a backend said is quoted in these.
                is_foreign=isinstance(error, PluginError | BackendError),
            )
        except Exception:  # the boundary: a crash must reach the agent as a failure, its text the log only
            reference = secrets.token_hex(3)
            log.exception("Tool %s failed (reference %s)", handler.__name__, reference)
            return failure(
                "internal",
                f"{handler.__name__} failed inside the server (reference {reference}).",
                hint="Repeating the same call will not help. get_status shows what is wrong; the server's "
                "log has the details under this reference.",
            )

    return call  # type: ignore[return-value]  # the same signature, another result


def _wrong_arguments(name: str, error: ValidationError) -> CallToolResult:
    """Return pydantic's findings about a tool's arguments in a form that can be acted on."""
    problems = [
        {
            "path": ".".join(map(str, finding["loc"])),
            "message": finding["msg"],
            **(
                {}
                if finding["type"] == "missing"
                else {"sent": json.dumps(finding["input"], default=str)[:80]}
            ),
        }
        for finding in error.errors(include_url=False)
    ]
    lines = [
        f"- {problem['path']}: {problem['message']}"
        + (f"; sent {problem['sent']}" if "sent" in problem else "")
        for problem in problems
    ]
    return failure(
        "invalid_arguments",
        f"{name}: {len(problems)} argument problem{'s' if len(problems) > 1 else ''}\n" + "\n".join(lines),
        hint="Correct the arguments and call again; nothing was done.",
        details={"problems": problems},
    )


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.4)
    return f" Did you mean {', '.join(near)}?" if near else ""


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - len(_CUT)] + _CUT
