"""The real server with what the official conformance suite expects to find: `python fixture_server.py`.

Its first line on standard output is the address. It has the real tools, prompts and resources too; the
fixtures come on top, and those that are tasks are runs like any other.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import anyio
import mcp.types as types
import uvicorn
from conformance_questions import register_questions
from mcp.server.mcpserver import Context, Elicit, Resolve, require_client_extension
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from pydantic import BaseModel, Field

from synapse_core.runs.request import make_request
from synapse_mcp.lookup import app_of
from synapse_mcp.records import run_record
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings
from synapse_mcp.tasks import TASK_TOOLS, TASKS, RunTasks
from synapse_mcp.tools.runs import outcome, wait_for

PLUGINS = Path(__file__).parent / "plugins"
TASK_FIXTURES = (
    *("slow_compute", "failing_job", "protocol_error_job", "test_tool_with_task"),
    *("confirm_delete", "multi_input"),
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class Person(BaseModel):
    name: str


def build() -> Any:
    server = build_server(Settings.make(plugins=[str(PLUGINS)]))
    for extension in server._extensions:
        if isinstance(extension, RunTasks):
            extension._tools = frozenset((*TASK_TOOLS, *TASK_FIXTURES))
    _register_contents(server)
    _register_behaviour(server)
    _register_runs(server)
    _register_resources_and_prompts(server)
    register_questions(server)
    _register_what_is_not_ours(server)
    return server


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    content = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=content)


def _register_contents(server: Any) -> None:
    @server.tool()
    def test_simple_text() -> str:
        """A text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> types.CallToolResult:
        """A picture."""
        picture = types.ImageContent(type="image", data=PNG, mime_type="image/png")
        return types.CallToolResult(content=[picture])

    @server.tool()
    def test_audio_content() -> types.CallToolResult:
        """A sound."""
        sound = types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")
        return types.CallToolResult(content=[sound])

    @server.tool()
    def test_embedded_resource() -> types.CallToolResult:
        """A resource inside the answer."""
        return types.CallToolResult(
            content=[_embedded("test://embedded-resource", "This is an embedded resource content.")]
        )

    @server.tool()
    def test_multiple_content_types() -> types.CallToolResult:
        """A text, a picture and a resource."""
        return types.CallToolResult(
            content=[
                _text("Multiple content types test:"),
                types.ImageContent(type="image", data=PNG, mime_type="image/png"),
                _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
            ]
        )

    @server.tool()
    def json_schema_2020_12_tool(name: str = "") -> str:
        """A tool whose schema has words that few others have."""
        return name

    server._tool_manager.get_tool("json_schema_2020_12_tool").parameters = SCHEMA


def _register_behaviour(server: Any) -> None:
    @server.tool()
    def test_error_handling() -> str:
        """A tool that fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool()
    async def test_tool_with_progress(ctx: Context) -> str:
        """A tool that tells how far it is."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
            await anyio.sleep(0.05)
        return "done"

    @server.tool()
    async def test_tool_with_logging(ctx: Context) -> str:
        """A tool that logs to its client."""
        for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await _log(ctx, text)
            await anyio.sleep(0.05)
        return "done"

    @server.tool()
    async def test_logging_tool(ctx: Context) -> str:
        """A tool that logs to its client."""
        await _log(ctx, "logged")
        return "done"

    @server.tool()
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Tell that the tools have changed."""
        await ctx.notify_tools_changed()
        return "told"

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Tell that the prompts have changed."""
        await ctx.notify_prompts_changed()
        return "told"

    @server.tool()
    async def test_reconnection(ctx: Context) -> str:
        """Close the stream before the answer."""
        await ctx.close_sse_stream()
        await anyio.sleep(0.1)
        return "reconnected"

    @server.tool()
    def test_x_header(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "",
    ) -> str:
        """A tool with an argument that is told in a header too."""
        return region

    @server.tool()
    def greet(name: str) -> str:
        """Greet somebody, at once."""
        return f"Hello, {name}!"


async def _log(ctx: Context, text: str) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notifications of logs are deprecated, and tested all the same
        await ctx.info(text)


async def _ask_name() -> Elicit[Person]:
    return Elicit("What is your name?", Person)


def _register_runs(server: Any) -> None:
    async def run(
        ctx: Context, action: str, params: dict[str, Any], wait_seconds: float
    ) -> types.CallToolResult:
        app = app_of(ctx)
        modes = ["local"]
        request = await app.call(
            lambda home: make_request(home.registry, "fixtures", action, params, mode="local", modes=modes)
        )
        begun = await app.call(lambda _: app.submit(request, None))
        ended = await wait_for(ctx, begun.run_id, wait_seconds)
        return await app.call(lambda home: outcome(run_record(ended, home.runs), ended))

    @server.tool()
    async def slow_compute(
        ctx: Context, seconds: float, label: str = "", wait_seconds: float = 20
    ) -> types.CallToolResult:
        """Compute for so many seconds."""
        return await run(ctx, "compute", {"seconds": seconds, "label": label}, wait_seconds)

    @server.tool()
    async def failing_job(ctx: Context, wait_seconds: float = 20) -> types.CallToolResult:
        """Fail; for clients that know tasks only."""
        require_client_extension(ctx.request_context, TASKS)
        return await run(ctx, "fail", {}, wait_seconds)

    @server.tool()
    async def protocol_error_job(ctx: Context, wait_seconds: float = 20) -> types.CallToolResult:
        """Be gone without a word."""
        return await run(ctx, "vanish", {}, wait_seconds)

    @server.tool()
    async def confirm_delete(ctx: Context, filename: str, wait_seconds: float = 20) -> types.CallToolResult:
        """Ask before a file is deleted."""
        return await run(ctx, "confirm", {"filename": filename}, wait_seconds)

    @server.tool()
    async def multi_input(ctx: Context, wait_seconds: float = 20) -> types.CallToolResult:
        """Ask two questions at the same time."""
        return await run(ctx, "ask_twice", {}, wait_seconds)

    @server.tool()
    async def test_tool_with_task(
        ctx: Context, who: Annotated[Person, Resolve(_ask_name)], wait_seconds: float = 20
    ) -> types.CallToolResult:
        """Ask for a name, then compute with it."""
        require_client_extension(ctx.request_context, TASKS)
        return await run(ctx, "compute", {"seconds": 0.5, "label": who.name}, wait_seconds)


def _register_resources_and_prompts(server: Any) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """A picture."""
        import base64

        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> dict[str, Any]:  # noqa: A002  # the suite's name
        """Data for an id."""
        return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A text to watch."""
        return "watched"

    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803  # the suite's name
        """A prompt with a resource."""
        return [
            UserMessage(content=_embedded(resourceUri, "Embedded resource content for testing.")),
            UserMessage(content=_text("Please process the embedded resource above.")),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[Any]:
        """A prompt with a picture."""
        return [
            UserMessage(content=types.ImageContent(type="image", data=PNG, mime_type="image/png")),
            UserMessage(content=_text("Please analyze the image above.")),
        ]


def _register_what_is_not_ours(server: Any) -> None:
    """Add what the suite asks of a server and ours does not have, such as a level of logging."""
    low = server._lowlevel_server

    async def nothing(_ctx: Any, _params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    for method, params in (
        ("logging/setLevel", types.SetLevelRequestParams),
        ("resources/subscribe", types.SubscribeRequestParams),
        ("resources/unsubscribe", types.UnsubscribeRequestParams),
    ):
        if low.get_request_handler(method) is None:
            low.add_request_handler(method, params, nothing)
    if low.get_request_handler("completion/complete") is None:

        @server.completion()
        async def complete(_ref: Any, argument: Any, _context: Any) -> types.Completion:
            return types.Completion(values=[f"{argument.value}is"])


def main() -> None:
    """Serve until the process is ended."""
    app = build().streamable_http_app()
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
    # The other implementation leaves the blanks behind a header's value.
    config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
