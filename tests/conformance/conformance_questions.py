"""The fixtures that ask the client something, in both protocol eras, as the official suite wants it."""

from __future__ import annotations

from typing import Any

import mcp.types as types
from mcp import MCPError
from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

Asked = types.CallToolResult | types.InputRequiredResult


class Account(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


def form(message: str, **properties: str) -> types.ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, max_tokens: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def roots() -> types.ListRootsRequest:
    return types.ListRootsRequest()


def said(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def answers(ctx: Context, **wanted: type) -> dict[str, Any] | None:
    """Return the answers to what was asked, None where one of them is missing or of another kind."""
    given = ctx.input_responses or {}
    if all(isinstance(given.get(name), kind) for name, kind in wanted.items()):
        return {name: given[name] for name in wanted}
    return None


def register_questions(server: Any) -> None:
    _register_newer(server)
    _register_older(server)


def _register_newer(server: Any) -> None:
    answer = types.ElicitResult

    @server.tool()
    async def test_input_required_result_elicitation(ctx: Context) -> Asked:
        """Ask for a name."""
        if (got := answers(ctx, user_name=answer)) is None:
            return types.InputRequiredResult(
                input_requests={"user_name": form("What is your name?", name="string")}
            )
        return said(f"Hello, {got['user_name'].content['name']}!")

    @server.tool()
    async def test_input_required_result_sampling(ctx: Context) -> Asked:
        """Ask the client's model."""
        if (got := answers(ctx, capital_question=types.CreateMessageResult)) is None:
            question = sample("What is the capital of France?", 100)
            return types.InputRequiredResult(input_requests={"capital_question": question})
        return said(got["capital_question"].content.text)

    @server.tool()
    async def test_input_required_result_list_roots(ctx: Context) -> Asked:
        """Ask for the client's folders."""
        if (got := answers(ctx, client_roots=types.ListRootsResult)) is None:
            return types.InputRequiredResult(input_requests={"client_roots": roots()})
        return said(", ".join(str(root.uri) for root in got["client_roots"].roots))

    @server.tool()
    async def test_input_required_result_request_state(ctx: Context) -> Asked:
        """Ask with a state."""
        if answers(ctx, confirm=answer) is None or ctx.request_state != "asked":
            question = form("Please confirm", ok="boolean")
            return types.InputRequiredResult(input_requests={"confirm": question}, request_state="asked")
        return said("state-ok")

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: Context) -> Asked:
        """Ask with a state that nobody may change."""
        if answers(ctx, confirm=answer) is None:
            question = form("Please confirm", ok="boolean")
            return types.InputRequiredResult(input_requests={"confirm": question}, request_state="asked")
        return said("state-ok")

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: Context) -> Asked:
        """Ask for three things at once."""
        wanted = {
            "user_name": answer,
            "greeting": types.CreateMessageResult,
            "client_roots": types.ListRootsResult,
        }
        if answers(ctx, **wanted) is None:
            questions = {
                "user_name": form("What is your name?", name="string"),
                "greeting": sample("Generate a greeting", 50),
                "client_roots": roots(),
            }
            return types.InputRequiredResult(input_requests=questions, request_state="asked")
        return said("all there")

    @server.tool()
    async def test_input_required_result_multi_round(ctx: Context) -> Asked:
        """Ask twice, one after the other."""
        if ctx.request_state == "second" and (got := answers(ctx, step2=answer)) is not None:
            return said(f"Your colour is {got['step2'].content['color']}.")
        if ctx.request_state == "first" and answers(ctx, step1=answer) is not None:
            question = form("Step 2: What is your favorite color?", color="string")
            return types.InputRequiredResult(input_requests={"step2": question}, request_state="second")
        question = form("Step 1: What is your name?", name="string")
        return types.InputRequiredResult(input_requests={"step1": question}, request_state="first")

    @server.tool()
    async def test_input_required_result_capabilities(ctx: Context) -> Asked:
        """Ask for what the client can answer."""
        can = ctx.client_capabilities
        questions: dict[str, Any] = {}
        if can is not None and can.elicitation is not None:
            questions["user_name"] = form("What is your name?", name="string")
        if can is not None and can.sampling is not None:
            questions["greeting"] = sample("Generate a greeting", 50)
        return types.InputRequiredResult(input_requests=questions, request_state="asked")

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> Any:
        """A prompt that asks first."""
        if (got := answers(ctx, user_context=answer)) is None:
            question = form("What context should the prompt use?", context="string")
            return types.InputRequiredResult(input_requests={"user_context": question})
        return f"Use this context: {got['user_context'].content['context']}"

    @server.tool()
    async def test_missing_capability(ctx: Context) -> str:
        """Need a capability of the client."""
        can = ctx.client_capabilities
        if can is None or can.sampling is None:
            needs = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs sampling.", needs)
        return "there"

    @server.tool()
    async def test_streaming_elicitation(ctx: Context) -> Asked:
        """Tell some progress, then ask."""
        await ctx.report_progress(0, 1)
        if (got := answers(ctx, user_name=answer)) is None:
            return types.InputRequiredResult(
                input_requests={"user_name": form("What is your name?", name="string")}
            )
        return said(got["user_name"].action)


def _register_older(server: Any) -> None:
    @server.tool()
    async def test_sampling(prompt: str, ctx: Context) -> str:
        """Ask the client's model."""
        request = sample(prompt, 100)
        answer = await ctx.session.send_request(request, types.CreateMessageResult)
        return f"LLM response: {answer.content.text}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Context) -> str:
        """Ask the user."""
        answer = await ctx.elicit(message, Account)
        return f"User response: {answer.action}"

    async def ask(ctx: Context, properties: dict[str, Any]) -> str:
        schema = {"type": "object", "properties": properties, "required": []}
        answer = await ctx.session.elicit_form("Please fill in the form", schema, ctx.request_id)
        return f"Elicitation completed: action={answer.action}, content={answer.content}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        """Ask with defaults."""
        status = {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"}
        return await ask(
            ctx,
            {
                "name": {"type": "string", "default": "John Doe"},
                "age": {"type": "integer", "default": 30},
                "score": {"type": "number", "default": 95.5},
                "status": status,
                "verified": {"type": "boolean", "default": True},
            },
        )

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        """Ask with every kind of choice."""
        plain = ["option1", "option2", "option3"]
        titled = [
            {"const": f"value{number}", "title": f"{word} Option"}
            for number, word in enumerate(("First", "Second", "Third"), 1)
        ]
        return await ask(
            ctx,
            {
                "untitledSingle": {"type": "string", "enum": plain},
                "titledSingle": {"type": "string", "oneOf": titled},
                "legacyEnum": {
                    "type": "string",
                    "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"],
                },
                "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
                "titledMulti": {"type": "array", "items": {"anyOf": titled}},
            },
        )
