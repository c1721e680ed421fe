"""plot_run: a picture that shows how a run's metrics went, drawn without the server loading matplotlib."""

from __future__ import annotations

import base64
import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from mcp import Client
from PIL import Image
from tool_calls import call, refused

from synapse_core.events import Metrics, RunStarted
from synapse_mcp.curves import curves_of, panels_of, thinned
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PLUGIN = """
from pydantic import BaseModel
from synapse_core import BaseAction


class Params(BaseModel):
    rounds: int = 5


class MainAction(BaseAction[Params]):
    def execute(self):
        for epoch in range(1, self.params.rounds + 1):
            values = {"epoch": epoch, "loss": 2.0 / epoch, "accuracy": 1 - 0.5 / epoch, "lr": 1e-4}
            self.set_metrics(values, category="train")
        self.set_metrics({"accuracy": 0.875, "images": 120}, category="test")
        return {}
"""


def told(at_seconds, category, action=None, **values):
    return Metrics(at=BEGAN + timedelta(seconds=at_seconds), category=category, values=values, action=action)


def test_curves_go_over_rounds_where_there_are_any_else_over_time():
    events = [
        RunStarted(at=BEGAN, pid=1),
        told(1, "train", epoch=1, loss=2.0, note="text"),
        told(2, "train", epoch=2, loss=float("nan")),
        told(3, "train", epoch=2, loss=1.0),
        told(4, "train", action="second", epoch=1, loss=9.0),
        told(5, "system", memory_mb=100),
        told(6, "system", memory_mb=200),
    ]

    curves = {curve.name: (curve.x, curve.points) for curve in curves_of(events)}

    seconds = "time since the run began (s)"
    assert curves == {
        "train/loss": ("epoch", {1.0: 2.0, 2.0: 1.0}),
        "second/train/loss": ("epoch", {1.0: 9.0}),
        "system/memory_mb": (seconds, {5.0: 100.0, 6.0: 200.0}),
    }


def test_panels_hold_what_can_share_an_axis():
    events = [RunStarted(at=BEGAN, pid=1)]
    for epoch in (1, 2, 3):
        events += [
            told(epoch, "train", epoch=epoch, loss=1 / epoch, accuracy=epoch / 4, step_seconds=0.1 * epoch),
            told(epoch, "val", epoch=epoch, loss=1.5 / epoch, huge_loss=9000.0 / epoch),
        ]
    events += [told(9, "test", accuracy=0.9, images=1200, failed=3)]

    panels, left_out = panels_of(curves_of(events))

    assert [(panel.y, [curve.name for curve in panel.curves]) for panel in panels] == [
        ("loss (no unit)", ["train/loss", "val/loss"]),
        ("score (0 to 1)", ["train/accuracy", "test/accuracy"]),
        ("step (s)", ["train/step_seconds"]),
        ("loss (no unit)", ["val/huge_loss"]),
        ("", ["test/images", "test/failed"]),
    ]
    assert left_out == []


def test_a_long_curve_is_thinned_and_keeps_its_spikes():
    events = [RunStarted(at=BEGAN, pid=1)]
    events += [told(n, "train", step=n, loss=100.0 if n == 30_001 else 1.0) for n in range(1, 60_001)]

    points = thinned(curves_of(events)[0])

    assert len(points) <= 1_002
    assert (points[0], points[-1]) == ((1.0, 1.0), (60_000.0, 1.0))
    assert max(points, key=lambda point: point[1]) == (30_001.0, 100.0)


async def measured(client, home):
    """Return the id of a run that has recorded metrics."""
    (home / "plugins" / "curves" / "plugin").mkdir(parents=True)
    config = "name: Curves\ncode: curves\nactions:\n  main:\n    entrypoint: plugin.main:MainAction\n"
    (home / "plugins" / "curves" / "config.yaml").write_text(config)
    (home / "plugins" / "curves" / "plugin" / "main.py").write_text(PLUGIN)
    return (await call(client, "run_action", plugin="curves", action="main", mode="local"))["run_id"]


async def test_a_run_is_drawn_in_a_child_and_the_line_tells_the_same(client, home):
    run_id = await measured(client, home)

    reply = await client.call_tool("plot_run", {"run_id": run_id, "metrics": ["accuracy", "loss"]})

    picture, line = reply.content
    assert (picture.type, picture.mime_type, line.type) == ("image", "image/png", "text")
    drawn = Image.open(io.BytesIO(base64.b64decode(picture.data))).convert("RGB")
    assert drawn.getpixel((2, 2)) == (255, 255, 255)
    assert (0x00, 0x72, 0xB2) in {colour for _, colour in drawn.getcolors(1 << 20)}
    assert "train/accuracy 0.5 → 0.9; test/accuracy 0.875; train/loss 2 → 0.4." in line.text
    assert "\n" not in line.text
    assert "matplotlib" not in sys.modules
    error = await refused(client, "plot_run", run_id=run_id, metrics=["train/los"])
    assert "Did you mean train/loss" in error["message"]


async def test_the_curves_of_a_run_are_a_resource_too_and_its_answer_links_to_it(home):
    async with Client(build_server(Settings.make())) as client:
        run_id = await measured(client, home)
        links = (await client.call_tool("get_run", {"run_id": run_id})).content[1:]

        content = (await client.read_resource(links[-1].uri)).contents[0]

    assert links[-1].uri == f"synapse://runs/{run_id}/metrics.png"
    assert content.mime_type == "image/png"
    assert base64.b64decode(content.blob).startswith(b"\x89PNG")


async def test_what_cannot_be_drawn_says_what_to_do(client):
    run = await call(client, "run_action", plugin="hello", action="greet", mode="local")

    error = await refused(client, "plot_run", run_id=run["run_id"])
    assert "has recorded no metrics" in error["message"]
    assert "set_metrics" in error["hint"]
    assert (await refused(client, "plot_run", run_id="run-x"))["code"] == "unknown_run"


async def test_without_matplotlib_the_command_that_installs_it_is_told(client, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run = await call(client, "run_action", plugin="hello", action="greet", mode="local")
    line = json.dumps(
        {"kind": "metrics", "seq": 99, "at": "2026-01-01T00:00:00Z", "category": "a", "values": {"loss": 1}}
    )
    with open(home / "runs" / run["run_id"] / "events.jsonl", "a") as events:
        events.write(line + "\n")

    error = await refused(client, "plot_run", run_id=run["run_id"])

    assert "pip install 'synapse-mcp[plot]'" in error["hint"]
