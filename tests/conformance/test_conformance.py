"""The official conformance suite against the real server class, at both protocol revisions."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

SUITE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
EXPECTED = Path(__file__).with_name("expected-failures.yml")
TASKS = {
    f"tasks-{name}"
    for name in (
        "lifecycle",
        "capability-negotiation",
        "wire-fields",
        "request-state-removal",
        "mrtr-input",
        "request-headers",
        "dispatch-and-envelope",
        "status-notifications",
        "required-task-error",
        "mrtr-composition",
    )
}
SKILLS = [f"sep-2640-skills-{name}" for name in ("directory", "enumeration", "manifest")]
_SUMMARY = re.compile(r"^([✓✗]) ([\w-]+): \d+ passed, \d+ failed", re.MULTILINE)


def outcomes(said: str) -> dict[str, bool]:
    return {name: mark == "✓" for mark, name in _SUMMARY.findall(said)}


def expected_failures() -> set[str]:
    return set(re.findall(r"^ +- (\S+)", EXPECTED.read_text(), re.MULTILINE))


@pytest.mark.parametrize(("revision", "least"), [("2026-07-28", 37), ("2025-11-25", 30)])
def test_every_required_scenario_passes(node, fixture_server, tmp_path, revision, least):
    ran = node.run(SUITE, "server", "--url", fixture_server, "--requirements", revision, "-o", str(tmp_path))

    passed = outcomes(ran.stdout)
    failing = {name for name, is_ok in passed.items() if not is_ok}
    assert failing == expected_failures() & passed.keys(), ran.stdout[-8000:]
    assert len(passed) >= least
    if revision == "2026-07-28":
        assert passed.keys() >= TASKS
        assert ran.returncode == 0, ran.stdout[-3000:]


@pytest.mark.parametrize("scenario", SKILLS)
def test_every_scenario_of_the_skills_passes(node, fixture_server, tmp_path, scenario):
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    asked = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "server/discover",
    }
    reply = httpx.post(fixture_server, json=asked, headers=headers, timeout=30)
    if "io.modelcontextprotocol/skills" not in reply.json()["result"]["capabilities"].get("extensions", {}):
        pytest.skip("this server has no skills")

    ran = node.run(SUITE, "server", "--url", fixture_server, "--scenario", scenario, "-o", str(tmp_path))

    assert ran.returncode == 0, ran.stdout[-8000:]
