"""Calling tools in tests: what must succeed gives its record, what must fail its error."""

from __future__ import annotations

import json


def text_of(reply):
    """Return the words of an answer; links to resources may stand behind them."""
    return "".join(part.text for part in reply.content if part.type == "text")


async def call(client, tool, /, **arguments):
    """Call a tool that must succeed and return its record."""
    reply = await client.call_tool(tool, arguments)
    assert not reply.is_error, text_of(reply)
    assert json.loads(text_of(reply)) == reply.structured_content, "structure and text tell the same"
    assert len(text_of(reply)) <= 4096
    return reply.structured_content


async def refused(client, tool, /, **arguments):
    """Call a tool that must fail and return its error."""
    reply = await client.call_tool(tool, arguments)
    assert reply.is_error, text_of(reply)
    error = reply.structured_content["error"]
    assert error["code"] in text_of(reply)
    assert error["message"] in text_of(reply)
    return error
