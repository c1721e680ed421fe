"""The guides as a tool, for hosts that show no prompts."""

from __future__ import annotations

from typing import Any

import msgspec
from mcp.server.mcpserver import Context

from synapse_mcp.app import App
from synapse_mcp.guides import find_guide, titles


class GuideList(msgspec.Struct):
    """The guides by topic, with their titles."""

    topics: dict[str, str]
    next: str


async def get_guide(ctx: Context[App, Any], topic: str | None = None) -> str | GuideList:
    """How to go about something. Without topic: the topics."""
    if topic is None:
        return GuideList(titles(), 'get_guide(topic="…") tells one of them.')
    return find_guide(topic)
