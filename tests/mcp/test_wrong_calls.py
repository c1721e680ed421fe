"""Every tool with every kind of wrong argument: a failure that teaches, at once, and nothing made of it.

The calls are derived from the tools' own schemas, so that a new tool is tried without a word here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png
from mcp import Client
from tool_calls import text_of

from synapse_mcp.server import build_server
from synapse_mcp.settings import TOOLSETS, Settings
from synapse_mcp.tasks import TASK_TOOLS
from synapse_mcp.tools import TOOLS

pytestmark = pytest.mark.anyio

# Of this process; by the clock it may take longer on a machine that has other work.
MOST_SECONDS = 2.0
MOST_SECONDS_BY_THE_CLOCK = 10.0
MOST_CHARS = 40_000
TOOL_NAMES = [spec.handler.__name__ for spec in TOOLS]
UNICODE = "ünï—\u202e日本語 🐈\u0301"
BIG = "x" * (1 << 20)
# Names of arguments that are places on the disk.
PLACES = {"path", "output", "source"}
# What a call needs to be right but for the one wrong argument.
RIGHT: dict[str, Any] = {
    "plugin": "hello",
    "action": "greet",
    "actions": ["hello/greet"],
    "run_id": "run-nothing",
    "name": "nothing",
    "model": "nothing",
    "inputs": [1],
    "to": "coco",
    "code": "hello",
    "source": "run-nothing",
    "topic": "convert_dataset",
}
# A text instead of these is the same thing said differently, or looked for and not found.
JSON_KINDS = {"object": {"a": 1}, "array": ["a"]}


@dataclass(frozen=True)
class Case:
    """One wrong call. may_succeed: it makes sense after all; then too nothing may be made."""

    kind: str
    arguments: dict[str, Any]
    may_succeed: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}: {json.dumps(self.arguments)[:80]}"


def cases(schema: dict[str, Any], inside: Path, outside: Path) -> Iterator[Case]:
    """Yield the wrong calls of a tool, by its schema."""
    properties = schema["properties"]
    right = {
        name: str(inside)
        if name in PLACES and name != "source"
        else RIGHT.get(name, _value(properties[name]))
        for name in schema.get("required", ())
    }
    right |= {name: value for name, value in (("dry_run", True), ("wait_seconds", 0)) if name in properties}
    for name in schema.get("required", ()):
        yield Case("missing", {key: value for key, value in right.items() if key != name})
    yield Case("unknown", {**right, "no_such_argument": 1})
    for name, field in properties.items():
        kind = field.get("type")
        wrong: Any = {"deep": [[]]} if kind != "object" else 12
        yield Case("wrong type", {**right, name: wrong}, may_succeed=kind is None)
        if kind in JSON_KINDS:
            yield Case("JSON in a string", {**right, name: json.dumps(JSON_KINDS[kind])}, may_succeed=True)
            yield Case("broken JSON", {**right, name: '{"a": '})
        if kind == "string" and "enum" not in field:
            for what, text in (("1 MB", BIG), ("NUL", "a\0b"), ("unicode", UNICODE)):
                yield Case(what, {**right, name: text}, may_succeed=True)
            if name in PLACES:
                link = inside / "link"
                for place in (str(outside), f"{inside}/../{outside.name}", str(link / "x")):
                    yield Case("outside", {**right, name: place})
        if kind == "object":
            yield Case("1 MB", {**right, name: {"a": BIG}}, may_succeed=True)
            yield Case("NUL", {**right, name: {"a\0b": "a\0b"}}, may_succeed=True)
            yield Case("unicode", {**right, name: {UNICODE: UNICODE}}, may_succeed=True)
        if kind == "array":
            for text in (BIG, "a\0b", UNICODE):
                yield Case("in a list", {**right, name: [text]}, may_succeed=True)


def _value(field: dict[str, Any]) -> Any:
    if "enum" in field:
        return field["enum"][0]
    return {"string": "nothing", "integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}[
        field["type"]
    ]


def files_below(folder: Path) -> set[str]:
    """Return what lies in a folder, but for the records that reading alone brings up to date."""
    kept = {"runs", "state", "cache", "descriptions", "logs", "database.db", "synapse.db"}
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not kept & set(path.relative_to(folder).parts)
        and not path.name.endswith((".db", ".db-wal", ".db-shm", ".lock", ".log"))
    }


def what_is_wrong(reply: Any, case: Case, took: float, made: list[str]) -> str | None:
    """Return what is wrong with the answer to a wrong call, None where it is as it should be."""
    text = text_of(reply)
    if took >= MOST_SECONDS:
        return f"took {took:.1f} s: {text[:100]}"
    if len(text) > MOST_CHARS:
        return f"{len(text)} characters"
    if made:
        return f"made {made[:5]}"
    if not reply.is_error:
        return None if case.may_succeed else f"was taken: {text[:200]}"
    error = reply.structured_content["error"]
    if error["code"] == "internal" or not error.get("hint"):
        return f"no code or no hint: {text[:200]}"
    return None


def tells_of_a_run(tool: str, reply: Any) -> bool:
    told = reply.structured_content or {}
    return tool in TASK_TOOLS and ("run_id" in told or "run" in told)


@asynccontextmanager
async def confined(tmp_path: Path):
    """A server that may use one folder only, with a link in it that leads out."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside / "cat", outside / "cat"):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(png())
    (inside / "link").symlink_to(outside)
    settings = replace(Settings.make(allow_paths=[str(inside)]), toolsets=frozenset(TOOLSETS))
    async with Client(build_server(settings)) as client:
        yield client, inside, outside


@pytest.mark.parametrize("tool", TOOL_NAMES)
async def test_a_wrong_call_fails_at_once_and_makes_nothing(tool, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with confined(tmp_path) as (client, inside, outside):
        listed = {each.name: each.input_schema for each in (await client.list_tools()).tools}
        # What is made once, whoever asks first.
        await client.call_tool("list_runs", {})
        await client.call_tool("list_plugins", {})
        await client.call_tool("describe_plugin", {"plugin": "hello"})
        await client.call_tool("list_models", {})
        await client.call_tool("preview_dataset", {"path": str(inside)})
        before = files_below(tmp_path)
        wrong, begun = [], 0
        for case in cases(listed[tool], inside, outside):
            began, began_working = time.monotonic(), time.process_time()
            reply = await client.call_tool(tool, case.arguments)
            took = time.process_time() - began_working
            if (waited := time.monotonic() - began) >= MOST_SECONDS_BY_THE_CLOCK:
                wrong.append(f"{case.name} -> took {waited:.1f} s by the clock")
            made = sorted(files_below(tmp_path) - before)
            begun += case.may_succeed and tells_of_a_run(tool, reply)
            if found := what_is_wrong(reply, case, took, made):
                wrong.append(f"{case.name} -> {found}")
        runs = (await client.call_tool("list_runs", {})).structured_content["runs"]
    # A dry run of a conversion is a run as well: it counts what would be lost, and writes nothing.
    assert len(runs) == min(begun, 15)
    assert not wrong, "\n".join(wrong)
    assert os.listdir(outside) == ["cat"]  # noqa: PTH208
