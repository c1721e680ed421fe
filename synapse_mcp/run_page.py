"""The view of a run inside of a chat: an MCP App that hosts show beside what `get_run` answers."""

from __future__ import annotations

from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps, client_supports_apps
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver.resources import FunctionResource
from mcp.types import ListToolsResult

from synapse_mcp.app import App

RUN_PAGE = "ui://synapse/run"
# The tools whose answers are a run.
_SHOWN = frozenset({"get_run", "run_action", "run_pipeline", "convert_dataset", "deploy_model"})


def run_pages() -> Apps:
    """Return the extension with the page of a run, which is put together when a host asks for it."""
    apps = Apps()
    apps.add_resource(
        FunctionResource(
            uri=RUN_PAGE,
            name="run",
            title="A run",
            description="A run as it goes: progress, steps, metric curves, result.",
            mime_type=APP_MIME_TYPE,
            meta={"ui": {"prefersBorder": True}},
            fn=_page,
        )
    )
    return apps


def with_page(listed: ListToolsResult, context: ServerRequestContext[App, Any]) -> ListToolsResult:
    """Return a list of tools in which those that answer with a run name its page.

    Only for who can show pages: the rest would pay for the bytes and have nothing of them.
    """
    if not client_supports_apps(context):
        return listed
    told = {"ui": {"resourceUri": RUN_PAGE}}
    tools = [
        tool.model_copy(update={"meta": {**(tool.meta or {}), **told}}) if tool.name in _SHOWN else tool
        for tool in listed.tools
    ]
    return listed.model_copy(update={"tools": tools})


def _page() -> str:
    from synapse_mcp.dashboard.files import run_page  # only hosts that show it need it

    return run_page()
