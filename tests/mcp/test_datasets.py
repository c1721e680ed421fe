"""What an agent meets when it looks at a dataset, sees it, and converts it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from mcp import Client
from PIL import Image
from tool_calls import call, refused

from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def boats(tmp_path: Path) -> Path:
    """Two images of 100 x 80 pixels: a boat in each, and a row that names no class in the second."""
    root = tmp_path / "boats"
    for name, rows in (("a", "0 0.5 0.5 0.2 0.25\n"), ("b", "0 0.5 0.5 0.4 0.5\n7 0.1 0.1 0.1 0.1\n")):
        (root / "images" / "train").mkdir(parents=True, exist_ok=True)
        (root / "labels" / "train").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80), "white").save(root / "images" / "train" / f"{name}.png")
        (root / "labels" / "train" / f"{name}.txt").write_text(rows)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [boat]\n")
    return root


async def test_a_dataset_is_looked_at(client, boats):
    found = (await call(client, "inspect_dataset", path=str(boats)))["dataset"]

    assert found["format"] == "yolo"
    assert found["evidence"]
    assert found["kinds"] == {"box": 3}, "the row that names no class is one of them"
    assert "labels/train/b.txt:2" in json.dumps(found["problems"])


async def test_a_dataset_is_seen(client, boats):
    reply = await client.call_tool("preview_dataset", {"path": str(boats), "count": 2})

    assert not reply.is_error
    picture, text = reply.content
    assert (picture.type, picture.mime_type) == ("image", "image/png")
    png = base64.b64decode(picture.data)
    assert Image.open(io.BytesIO(png)).width >= 200
    assert str(boats) in text.text


async def test_a_conversion_is_a_run_whose_result_tells_what_was_lost(client, boats, tmp_path):
    output = tmp_path / "coco"
    run = await call(
        client, "convert_dataset", path=str(boats), to="coco", output=str(output), wait_seconds=50
    )

    assert (run["state"], run["done"], run["plugin"], run["action"]) == (
        "succeeded",
        True,
        "synapse",
        "convert_dataset",
    )
    assert run["progress"]["fraction"] == 1.0
    report = run["result"]
    assert (report["source_format"], report["target_format"], report["items"]) == ("yolo", "coco", 2)
    assert report["kinds"]["box"] == {
        "seen": 3,
        "written": 2,
        "merged": 0,
        "split_extra": 0,
        "skipped": 0,
        "failed": 1,
    }
    assert report["reasons"]["UNKNOWN_CLASS"]["count"] == 1
    assert "labels/train/b.txt:2" in report["reasons"]["UNKNOWN_CLASS"]["example"]
    assert not report["is_lossless"]
    written = json.loads(Path(report["config_path"]).read_text())
    assert [row["bbox"] for row in written["annotations"]] == [
        [40.0, 30.0, 20.0, 20.0],
        [30.0, 20.0, 40.0, 40.0],
    ]
    (line,) = Path(report["losses_path"]).read_text().splitlines()
    assert json.loads(line)["code"] == "UNKNOWN_CLASS"
    assert (await call(client, "get_run", run_id=run["run_id"]))["result"] == report


async def test_a_dry_run_tells_the_same_losses_and_writes_nothing(client, boats, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    run = await call(client, "convert_dataset", path=str(boats), to="voc", dry_run=True, wait_seconds=50)

    assert run["result"]["kinds"]["box"]["failed"] == 1
    assert "output" not in run["result"]
    assert [path for path in sorted(tmp_path.rglob("*")) if "home" not in path.parts] == [
        path for path in before if "home" not in path.parts
    ]


async def test_a_strict_conversion_that_would_lose_something_fails_and_says_what(client, boats, tmp_path):
    output = tmp_path / "coco"
    reply = await client.call_tool(
        "convert_dataset",
        {
            "path": str(boats),
            "to": "coco",
            "output": str(output),
            "options": {"strict": True},
            "wait_seconds": 50,
        },
    )

    assert reply.is_error
    assert reply.structured_content["error"]["code"] == "lossy_conversion"
    assert "UNKNOWN_CLASS" in reply.structured_content["error"]["message"]
    assert not output.exists()
    assert not list(tmp_path.glob(".coco*"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"to": "yollo"}, "unknown_format", "Did you mean yolo"),
        ({"path": "/nowhere/at/all"}, "not_found", "nothing at /nowhere"),
        ({"path": "a\0b"}, "invalid_arguments", "NUL"),
        ({"output": None}, "invalid_request", "no output"),
        ({"options": {"taks": "detect"}}, "invalid_request", "task"),
        ({"options": {"bounds": "cut"}}, "invalid_request", "clip"),
        ({"from": "voc2"}, "unknown_format", "voc"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_made(
    client, boats, tmp_path, arguments, code, words
):
    asked = {"path": str(boats), "to": "coco", "output": str(tmp_path / "out"), **arguments}
    error = await refused(client, "convert_dataset", **{k: v for k, v in asked.items() if v is not None})

    assert error["code"] == code
    assert words in error["message"] + (error["hint"] or "")
    assert (await call(client, "list_runs"))["runs"] == []
    assert not (tmp_path / "out").exists()


async def test_an_output_that_stands_there_or_lies_in_the_dataset_is_refused(client, boats, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")

    error = await refused(client, "convert_dataset", path=str(boats), to="coco", output=str(taken))
    assert error["code"] == "conflict"
    assert (taken / "mine.txt").read_text() == "mine"
    error = await refused(client, "convert_dataset", path=str(boats), to="coco", output=str(boats / "new"))
    assert error["code"] == "invalid_request"
    assert (await call(client, "list_runs"))["runs"] == []


async def test_a_folder_that_is_no_dataset_is_told_with_what_is_in_it(client, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Not a dataset")

    error = await refused(client, "inspect_dataset", path=str(tmp_path / "notes"))
    assert error["code"] == "unrecognised_dataset"
    assert ".md" in error["message"]


async def test_a_server_with_allowed_paths_uses_no_others(home, boats, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(boats)
    settings = Settings.make(allow_paths=[str(tmp_path / "inside")])
    async with Client(build_server(settings)) as client:
        for path in (boats, tmp_path / "inside" / "link", tmp_path / "inside" / ".." / "boats", "memory://x"):
            for tool in ("inspect_dataset", "preview_dataset"):
                error = await refused(client, tool, path=str(path))
                assert (error["code"], "outside" in error["message"]) == ("invalid_request", True)
        boats.rename(tmp_path / "inside" / "boats")
        await call(client, "inspect_dataset", path=str(tmp_path / "inside" / "boats"))
        error = await refused(
            client,
            "convert_dataset",
            path=str(tmp_path / "inside" / "boats"),
            to="coco",
            output=str(tmp_path / "outside"),
        )
        assert "outside" in error["message"]


async def test_the_formats_are_a_resource_and_the_guide_a_prompt(client):
    formats = json.loads((await client.read_resource("synapse://formats")).contents[0].text)
    by_name = {entry["name"]: entry for entry in formats}
    assert by_name["coco"]["writes"]
    assert "mask" in by_name["coco"]["holds"]

    prompt = await client.get_prompt("convert_dataset", {"path": 'a "b"', "to": "yolo"})
    text = prompt.messages[0].content.text
    assert text.startswith('Convert the dataset "a \\"b\\"" to "yolo".')
    assert "dry_run=true" in text
