"""The view of a run inside of a chat: offered to hosts that show it, and alive in one."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from tests_dashboard import CONTRAST, EVIL

from synapse_mcp.run_page import RUN_PAGE
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

# A host as small as can be: it knows the protocol, and asks the real server what its page asks for.
HOST = """<!doctype html><title>A chat</title><iframe sandbox="allow-scripts" style="width:100%;height:900px">
</iframe><script>
const frame = document.querySelector("iframe");
const send = (message) => frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
window.heard = [];
addEventListener("message", async ({ source, data }) => {
  if (source !== frame.contentWindow) return;
  heard.push(data.method);
  if (data.method === "ui/initialize") {
    const hostContext = { theme: "dark" };
    const hostCapabilities = { serverTools: {}, serverResources: {} };
    const hostInfo = { name: "host", version: "1" };
    send({ id: data.id, result: { protocolVersion: data.params.protocolVersion, hostInfo, hostCapabilities,
      hostContext } });
  } else if (data.method === "ui/notifications/initialized") {
    send({ method: "ui/notifications/tool-result", params: JSON.parse(first) });
  } else if (data.id !== undefined) {
    send({ id: data.id, result: JSON.parse(await answered(data.method, JSON.stringify(data.params))) });
  }
});
</script>"""
# What hosts let a page do that asks for nothing.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


@asynccontextmanager
async def connected(settings: Settings, *, shows_pages: bool) -> AsyncIterator[Client]:
    extensions = [advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})] if shows_pages else []
    async with Client(build_server(settings), extensions=extensions) as client:
        yield client


class Chat:
    """A client of the real server that shows pages; it lives in another thread than the browser."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    def tool(self, name: str, **arguments: Any) -> str:
        return self._plain(self._portal.call(self._client.call_tool, name, arguments))

    def page(self) -> str:
        (content,) = self._portal.call(self._client.read_resource, RUN_PAGE).contents
        assert content.mime_type == APP_MIME_TYPE
        return content.text

    def answer(self, method: str, params: str) -> str:
        asked = json.loads(params)
        if method == "tools/call":
            return self.tool(asked["name"], **asked["arguments"])
        assert method == "resources/read", method
        return self._plain(self._portal.call(self._client.read_resource, asked["uri"]))

    @staticmethod
    def _plain(answer: Any) -> str:
        return str(answer.model_dump_json(by_alias=True, exclude_none=True))


@pytest.fixture
def chat(world: Any, tmp_path: Path) -> Iterator[Chat]:
    settings = Settings.make([str(tmp_path / "plugins")])
    with start_blocking_portal() as portal:
        opened = connected(settings, shows_pages=True)
        with portal.wrap_async_context_manager(opened) as client:
            yield Chat(portal, client)


def tools_of(settings: Settings, *, shows_pages: bool) -> dict[str, Any]:
    async def listed() -> dict[str, Any]:
        async with connected(settings, shows_pages=shows_pages) as client:
            resources = {str(one.uri) for one in (await client.list_resources()).resources}
            assert RUN_PAGE in resources
            return {tool.name: tool.meta for tool in (await client.list_tools()).tools}

    with start_blocking_portal() as portal:
        return portal.call(listed)


def test_only_who_can_show_pages_is_told_of_them(home):
    told = tools_of(Settings.make(), shows_pages=True)
    others = tools_of(Settings.make(), shows_pages=False)

    assert told["get_run"] == {"ui": {"resourceUri": RUN_PAGE}}
    assert told["run_action"] == told["get_run"]
    assert told["get_status"] is None
    assert set(others.values()) == {None}


def test_the_page_in_a_chat_shows_a_run_and_goes_on_with_it(world, chat, browser):
    from playwright.sync_api import expect  # after the browser was found

    page = browser.new_page(viewport={"width": 760, "height": 900})
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    html = chat.page().replace(
        "<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1
    )
    run_id = world.train(words=EVIL)
    page.expose_function("answered", chat.answer)
    page.set_content(HOST)
    page.evaluate("told => { window.first = told }", chat.tool("get_run", run_id=run_id))
    page.evaluate("html => { document.querySelector('iframe').srcdoc = html }", html)
    frame = page.frame_locator("iframe")

    expect(frame.locator("h2").first).to_have_text("trainer / train")
    expect(frame.locator("[role=progressbar]")).to_have_attribute("aria-valuenow", "50")
    world.gate.touch()

    expect(frame.locator(".run-head .state")).to_have_text("succeeded")
    expect(frame.locator(".chart path.series")).to_have_count(2)
    expect(frame.locator(".side")).to_contain_text(EVIL)
    assert "ui/notifications/size-changed" in page.evaluate("heard")
    inside = page.frames[1]
    assert inside.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert inside.evaluate(CONTRAST) == []
    assert inside.evaluate("document.querySelectorAll('img').length") == 0
    assert [one for one in asked if not one.startswith("about:")] == []
    assert complaints == []
    if shots := os.environ.get("SYNAPSE_TEST_SHOTS"):
        page.screenshot(path=f"{shots}/mcp_app.png", full_page=True)
    page.close()
