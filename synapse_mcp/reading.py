"""What clients read instead of calling: a server that serves the table of resources and whose prompts teach.

What is in the table, and what the prompts say, stands in `resources` and `prompts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import msgspec
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.shared.uri_template import UriTemplate
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    GetPromptResult,
    InputRequiredResult,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
)
from pydantic import AnyUrl

from synapse_core.errors import NotFound, SynapseError, did_you_mean, nearest
from synapse_core.home import Home
from synapse_mcp.app import App
from synapse_mcp.lookup import app_of
from synapse_mcp.masking import masked, masked_data
from synapse_mcp.settings import Settings

# No resource is longer than this, but for pictures.
MOST_CHARS = 40_000
SCHEME = "synapse://"
# The lists never change while a server runs; each resource has a hint of its own.
CACHE_HINTS: Mapping[CacheableMethod, CacheHint] = MappingProxyType(
    {
        "tools/list": CacheHint(300_000, "private"),
        "prompts/list": CacheHint(300_000, "public"),
        "resources/list": CacheHint(300_000, "public"),
        "resources/templates/list": CacheHint(300_000, "public"),
    }
)


@dataclass(frozen=True)
class ResourceSpec:
    """One entry of the table of resources. uri: fixed, or with the variables of `read` in braces.

    read: a function of the home, the settings and the variables, whose docstring is what clients are told.
    It returns a text, a picture, or a record, which is sent as JSON. ttl_seconds: how long a client may keep
    what it has read. most_chars: longer ones are cut. is_public: the same for every user.
    """

    uri: str
    title: str
    read: Callable[..., Any]
    mime_type: str = "application/json"
    ttl_seconds: float = 1.0
    most_chars: int = MOST_CHARS
    is_public: bool = False

    @property
    def name(self) -> str:
        return self.uri.removeprefix(SCHEME)

    @property
    def description(self) -> str:
        return " ".join((self.read.__doc__ or "").split())

    @cached_property
    def template(self) -> UriTemplate:
        return UriTemplate.parse(self.uri)

    @property
    def is_fixed(self) -> bool:
        return not self.template.variable_names

    def match(self, uri: str) -> dict[str, str] | None:
        """Return the variables of a URI of this entry, None where it is of another one."""
        found = self.template.match(uri)
        return None if found is None else {name: str(value) for name, value in found.items()}


class ReadingServer(MCPServer[App]):
    """An MCPServer with a table of resources; what it does not have is answered with the nearest it has."""

    @cached_property
    def resource_table(self) -> list[ResourceSpec]:
        """The resources of ours, besides what the SDK's own ways have added."""
        return []

    def find_resource(self, uri: str) -> tuple[ResourceSpec, dict[str, str]] | None:
        """Return the entry of a URI and its variables, None where the table has none."""
        for spec in self.resource_table:
            if (variables := spec.match(uri)) is not None:
                return spec, variables
        return None

    async def list_resources(self) -> list[Resource]:
        """Return the resources that have a fixed URI."""
        ours = [
            Resource(
                uri=spec.uri,
                name=spec.name,
                title=spec.title,
                description=spec.description,
                mime_type=spec.mime_type,
            )
            for spec in self.resource_table
            if spec.is_fixed
        ]
        return [*ours, *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """Return the resources whose URI bears a code or an id."""
        ours = [
            ResourceTemplate(
                uri_template=spec.uri,
                name=spec.name,
                title=spec.title,
                description=spec.description,
                mime_type=spec.mime_type,
            )
            for spec in self.resource_table
            if not spec.is_fixed
        ]
        return [*ours, *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[App, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Return what stands under a URI. Raises MCPError: -32602 and the nearest where there is nothing."""
        asked = str(uri)
        found = self.find_resource(asked)
        if found is None or context is None:
            if asked.startswith(SCHEME):
                raise unknown_uri(asked, [spec.uri for spec in self.resource_table])
            return await super().read_resource(uri, context)
        spec, variables = found
        app = app_of(context)
        try:
            content = await app.call(lambda home: _content(spec, home, app.settings, variables))
        except SynapseError as error:
            raise unreadable(asked, error) from error
        return [ReadResourceContents(content, spec.mime_type)]

    async def _handle_read_resource(
        self, ctx: ServerRequestContext[App], params: ReadResourceRequestParams
    ) -> ReadResourceResult | InputRequiredResult:
        # The SDK knows one hint for all resources; ours live from a second to an hour.
        result = await super()._handle_read_resource(ctx, params)
        found = self.find_resource(str(params.uri))
        if found is None or not isinstance(result, ReadResourceResult):
            return result
        scope = "public" if found[0].is_public else "private"
        update = {"ttl_ms": round(found[0].ttl_seconds * 1000), "cache_scope": scope}
        return result.model_copy(update=update)

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[App, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """Return a prompt's messages. Raises MCPError, -32602, that says what is wrong with the arguments."""
        prompt = self._prompt_manager.get_prompt(name)
        if prompt is None:
            known = [each.name for each in self._prompt_manager.list_prompts()]
            raise _refused(f"There is no prompt {name[:80]!r}.{did_you_mean(name, known)}", prompts=known)
        takes = {argument.name: argument.required for argument in prompt.arguments or ()}
        given = arguments or {}
        missing = [each for each, is_required in takes.items() if is_required and not given.get(each)]
        unknown = [each for each in given if each not in takes]
        if missing or unknown:
            told = [f"it needs {each}" for each in missing]
            told += [f"it has no argument {each[:80]!r}.{did_you_mean(each, takes)}" for each in unknown]
            says = "; ".join(told).rstrip(".")
            raise _refused(f"Prompt {name}: {says}. It takes: {', '.join(takes) or 'nothing'}.")
        try:
            return await super().get_prompt(name, given, context)
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, SynapseError):
                cause = cause.__cause__
            if cause is None:
                raise
            raise _refused(f"{cause.message} {cause.hint or ''}".strip(), **cause.details) from error


def unknown_uri(uri: str, known: list[str]) -> MCPError:
    """Return the error for a URI that no entry fits."""
    near = nearest(uri, known) or known
    message = f"There is no resource {uri[:200]!r}. The resources are {', '.join(known)}."
    return MCPError(INVALID_PARAMS, message, {"uri": uri[:200], "nearest": near[:3]})


def unreadable(uri: str, error: SynapseError) -> MCPError:
    """Return the error for a resource that could not be read, -32602 where it is not there."""
    is_unknown = isinstance(error, NotFound)
    data = {"uri": uri[:200], "code": error.code}
    if error.hint:
        data["hint"] = masked(error.hint)
    if is_unknown:
        data["nearest"] = masked_data(error.details.get("nearest") or [])
    message = masked(f"{error.message} {error.hint or ''}".strip())
    return MCPError(INVALID_PARAMS if is_unknown else INTERNAL_ERROR, message[:2_000], data)


def _refused(message: str, **data: Any) -> MCPError:
    return MCPError(INVALID_PARAMS, masked(message)[:1_000], masked_data(data) or None)


def _content(spec: ResourceSpec, home: Home, settings: Settings, variables: Mapping[str, str]) -> str | bytes:
    value = spec.read(home, settings, **variables)
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return masked(value)[: spec.most_chars]
    plain = masked_data(msgspec.to_builtins(value, str_keys=True))
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    if len(text) > spec.most_chars:
        plain = {"truncated": True, "chars": len(text), "beginning": text[: spec.most_chars // 2]}
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return text
