"""What the audit log is told of a call: who asked, and what came of it."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, InputRequiredResult, TextContent

from synapse_mcp.app import App
from synapse_mcp.principals import current_principal


def audit_call(
    tool: str,
    arguments: dict[str, Any],
    seconds: float,
    result: CallToolResult | InputRequiredResult | None,
    context: Context[App, Any] | None,
) -> None:
    """Record a call that has ended. result: None where it was cancelled, or refused by the protocol."""
    request = None if context is None else context.request_context
    if request is None or not isinstance(app := request.lifespan_context, App) or app.audit is None:
        return
    principal = current_principal()
    client = request.session.client_params
    app.audit.record(
        tool,
        arguments,
        seconds,
        bytes=_size(result),
        error=_error(result),
        run_id=_run_id(result) or arguments.get("run_id"),
        principal=None if principal is None else principal.name,
        client=None if client is None else client.client_info.name[:100],
    )


def _size(result: CallToolResult | InputRequiredResult | None) -> int:
    """Return how many bytes of content the answer has; its structure says the same once more."""
    parts = result.content if isinstance(result, CallToolResult) else ()
    return sum(
        len(part.text.encode("utf-8", "replace")) if isinstance(part, TextContent) else len(part.data)
        for part in parts
        if isinstance(part, TextContent | ImageContent)
    )


def _error(result: CallToolResult | InputRequiredResult | None) -> str | None:
    if result is None:
        return "interrupted"
    if not isinstance(result, CallToolResult) or not result.is_error:
        return None
    told = _structure(result).get("error")
    return told["code"] if isinstance(told, dict) else "error"


def _run_id(result: CallToolResult | InputRequiredResult | None) -> str | None:
    """Return the run that the answer is about, which a failure carries a level deeper."""
    told = _structure(result) if isinstance(result, CallToolResult) else {}
    run = told.get("run")
    found = told.get("run_id") or (run.get("run_id") if isinstance(run, dict) else None)
    return found if isinstance(found, str) else None


def _structure(result: CallToolResult) -> dict[str, Any]:
    return result.structured_content if isinstance(result.structured_content, dict) else {}
