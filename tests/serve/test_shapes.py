"""From drawn data to an address that finds shapes: as an agent goes step by step, and as one pipeline."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from serve.test_session import MOST_CALLS, Session

pytestmark = [pytest.mark.ray("own"), pytest.mark.anyio]

PLUGIN = "shape_detector"
DRAWN = {"pictures": 80, "seed": 3}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[Session]:
    """Give a client of a server of its own."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp"],
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )
    async with Client(server) as client:
        yield Session(client)


@pytest.fixture
async def session(home: Path) -> AsyncIterator[Session]:
    async with served(home) as opened:
        yield opened


async def delete(session: Session, name: str) -> None:
    asked = await session.call("delete_deployment", name=name)
    assert (await session.call("delete_deployment", name=name, confirm=asked["confirm"]))["deleted"]


async def action(session: Session, name: str, **params: Any) -> dict[str, Any]:
    """Run one of the plugin's actions to its end, and return the run."""
    begun = await session.call("run_action", plugin=PLUGIN, action=name, params=params, wait_seconds=50)
    return await session.ended(begun)


def seen(dataset: str, picture: int) -> tuple[dict[str, str], list[tuple[str, list[float]]]]:
    """Return a validation picture as an input of the deployment, and what is annotated on it."""
    told = json.loads(Path(dataset, "annotations/instances_val.json").read_text())
    image = told["images"][picture]
    names = {each["id"]: each["name"] for each in told["categories"]}
    content = Path(dataset, "images/val", image["file_name"]).read_bytes()
    truth = [
        (names[each["category_id"]], each["bbox"])
        for each in told["annotations"]
        if each["image_id"] == image["id"]
    ]
    return {"image": base64.b64encode(content).decode()}, truth


def matches(found: dict[str, Any], truth: list[tuple[str, list[float]]]) -> int:
    """Return how many of the annotated shapes were found, a box within two pixels being right."""
    return sum(
        any(
            one["class"] == name and all(abs(x - y) <= 2 for x, y in zip(one["box"], box, strict=True))
            for one in found["boxes"]
        )
        for name, box in truth
    )


async def answers_well(session: Session, deployment: str, dataset: str) -> None:
    inputs, truths = zip(*(seen(dataset, picture) for picture in range(6)), strict=True)
    answer = await session.call("call_deployment", name=deployment, inputs=list(inputs))
    right = sum(map(matches, answer["results"], truths))
    assert right >= 0.8 * sum(map(len, truths)) > 5


async def test_data_is_drawn_converted_learned_and_asked_step_by_step(session: Session):
    drawn = (await action(session, "draw", **DRAWN))["result"]
    begun = await session.call(
        "convert_dataset", path=drawn["path"], to="yolo", output=f"{drawn['path']}_yolo", wait_seconds=50
    )
    converted = await session.ended(begun)
    assert converted["result"]["is_lossless"] is True
    trained = await action(session, "train", path=converted["result"]["output"])
    registered = (await session.call("register_model", name="shapes", source=trained["run_id"]))["model"]
    assert registered["metrics"]["validation/map50"] == trained["result"]["map50"] > 0.85
    assert registered["run_id"] == trained["run_id"]
    begun = await session.call("deploy_model", model=registered["model"], name="shapes", wait_seconds=50)
    deployed = await session.ended(begun)
    assert deployed["result"]["probe"]["inputs"] == 1
    await answers_well(session, "shapes", drawn["path"])
    assert session.calls <= MOST_CALLS

    for wrong, words in (
        ({"image": "no base64!"}, "no picture"),
        ({"image": base64.b64encode(b"text").decode()}, "no picture"),
        ({"picture": ""}, "image"),
    ):
        refused = await session.ask("call_deployment", name="shapes", inputs=[wrong])
        assert refused.structured_content["error"]["code"] == "inputs_rejected"
        assert words in refused.content[0].text
    await answers_well(session, "shapes", drawn["path"])
    await delete(session, "shapes")


async def test_one_pipeline_goes_from_nothing_to_an_address_that_outlives_its_server(home: Path):
    actions = [f"{PLUGIN}/{name}" for name in ("draw", "convert", "train", "deploy")]
    name = "shapes_at_once"
    async with served(home) as session:
        begun = await session.call(
            "run_pipeline", actions=actions, params={**DRAWN, "name": name}, wait_seconds=50
        )
        ended = await session.ended(begun)
    assert [each["state"] for each in ended["actions"]] == ["succeeded"] * 4, ended
    drawn = next((home / "runs" / ended["run_id"]).rglob("instances_val.json")).parents[1]

    async with served(home) as another:
        (seen,) = (await another.call("list_deployments"))["deployments"]
        (model,) = (await another.call("list_models", model=name))["models"]
        assert (seen["name"], seen["state"], seen["model"]) == (name, "running", model["model"])
        assert ended["result"]["model"] == model["id"]
        assert model["plugin"] == PLUGIN
        assert model["metrics"]["validation/map50"] > 0.85
        await answers_well(another, name, str(drawn))
        await delete(another, name)
