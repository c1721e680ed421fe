"""Large stores: every answer stays small, and no call reads more than it needs."""

from __future__ import annotations

import builtins
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from mcp import Client

from benchmarks.large_stores import fill_runs, write_dataset, write_log, write_plugins
from synapse_core.database import open_database
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

MOST_BYTES = 40_000
RUNS = 10_000


async def answer_of(client: Client, tool: str, **arguments: Any) -> str:
    reply = await client.call_tool(tool, arguments)
    text = "".join(part.text for part in reply.content if part.type == "text")
    assert not reply.is_error, text
    assert len(text.encode()) <= MOST_BYTES
    assert len(json.dumps(reply.structured_content or {}).encode()) <= 2 * MOST_BYTES
    return text


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the SQL statements of all databases."""
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


async def test_ten_thousand_runs_are_listed_page_by_page_with_one_statement_each(home):
    began = time.process_time()
    ids = fill_runs(home, RUNS)
    assert time.process_time() - began < 10

    async with Client(build_server(Settings.make())) as client:
        await answer_of(client, "list_runs")  # the first call opens the home
        for thread in threading.enumerate():  # beside the calls, runs of servers that are gone are looked at
            if "reconcile_all" in thread.name:
                thread.join()
        for arguments in ({}, {"limit": 100}, {"state": "failed"}, {"plugin": "p3"}, {"state": "active"}):
            with statements() as said:
                await answer_of(client, "list_runs", **arguments)
            assert sum("FROM runs" in one for one in said) == 1, arguments
        with statements() as said:
            await answer_of(client, "get_run", run_id=ids[17])
            await answer_of(client, "get_status")
        assert sum("FROM runs" in one for one in said) <= 3
        page = json.loads(await answer_of(client, "list_runs", limit=100))
        seen = [run["run_id"] for run in page["runs"]]
        page = json.loads(await answer_of(client, "list_runs", limit=100, cursor=page["next_cursor"]))
        seen += [run["run_id"] for run in page["runs"]]
        assert seen == ids[::-1][:200], "the newest first, none twice"
        reply = await client.call_tool("get_run", {"run_id": "run-nothing"})
        assert len(reply.model_dump_json()) <= 4_096
    # A page is found by an index, not by looking through all rows.
    engine = open_database(home)
    with engine.connect() as connection:
        plan = connection.execute(
            sa.text("EXPLAIN QUERY PLAN SELECT * FROM runs ORDER BY created DESC, run_id DESC LIMIT 16")
        ).all()
    engine.dispose()
    assert "runs_by_age" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


async def test_the_end_of_a_long_log_is_read_without_the_rest(home, monkeypatch):
    (run_id,) = fill_runs(home, 1)
    log = write_log(home, run_id, 200_000)
    size = log.stat().st_size
    assert size > 10_000_000
    read = [0]
    real = builtins.open

    def counting(file: Any, *arguments: Any, **named: Any) -> Any:
        opened = real(file, *arguments, **named)
        if str(file) == str(log):
            original = opened

            class Counted:
                """The file, which counts what is read of it."""

                def read(self, length: int = -1) -> bytes:
                    data = original.read(length)
                    read[0] += len(data)
                    return data

                def readline(self, length: int = -1) -> bytes:
                    data = original.readline(length)
                    read[0] += len(data)
                    return data

                def seek(self, place: int) -> int:
                    return original.seek(place)

                def __enter__(self) -> Counted:
                    return self

                def __exit__(self, *_: object) -> None:
                    original.close()

            return Counted()
        return opened

    async with Client(build_server(Settings.make())) as client:
        await answer_of(client, "get_run", run_id=run_id)
        monkeypatch.setattr(builtins, "open", counting)
        for arguments, most in (
            ({}, 1 << 19),
            ({"tail": 1000}, 1 << 19),
            ({"grep": "line 199990"}, 1 << 25),
            ({"cursor": size - 5_000}, 6_000),
            ({"cursor": 0}, 1 << 19),
        ):
            read[0] = 0
            text = await answer_of(client, "get_run_logs", run_id=run_id, **arguments)
            assert 0 < read[0] <= most, arguments
            assert len(text) <= 4_200
        text = await answer_of(client, "get_run_logs", run_id=run_id, tail=1)
        assert "line 199999" in text
        assert "line 199990" in await answer_of(client, "get_run_logs", run_id=run_id, grep="line 199990")


async def test_a_dataset_of_five_thousand_classes_is_told_in_one_answer(home, tmp_path):
    write_dataset(tmp_path / "data", 5_000)

    async with Client(build_server(Settings.make())) as client:
        text = await answer_of(client, "inspect_dataset", path=str(tmp_path / "data"))

    assert "5000" in text


async def test_five_hundred_plugins_are_listed_and_each_config_is_parsed_once(home, tmp_path, monkeypatch):
    write_plugins(tmp_path / "many", 500)
    parsed: list[object] = []
    import synapse_core.registry as registry

    real = registry.load_config

    def counting(*arguments: Any, **named: Any) -> Any:
        parsed.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(registry, "load_config", counting)
    async with Client(build_server(Settings.make([str(tmp_path / "many")]))) as client:
        first = json.loads(await answer_of(client, "list_plugins", limit=100))
        assert first["total"] >= 500
        assert len(parsed) == first["total"]
        await answer_of(client, "list_plugins", query="number 250")
        await answer_of(client, "get_status")
        await answer_of(client, "list_plugins", cursor=first["next_cursor"], limit=100)
        assert len(parsed) == first["total"]
