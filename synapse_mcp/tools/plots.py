"""Seeing how a run went: its metrics as curves."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult

from synapse_mcp.app import App
from synapse_mcp.boundary import picture
from synapse_mcp.lookup import app_of
from synapse_mcp.plot import plot_metrics


async def plot_run(ctx: Context[App, Any], run_id: str, metrics: list[str] | None = None) -> CallToolResult:
    """A picture of a run's metric curves."""
    png, line = await app_of(ctx).call(lambda home: plot_metrics(home, run_id, metrics))
    return picture(png, line)
