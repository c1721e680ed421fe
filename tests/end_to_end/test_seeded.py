"""The example plugins at work: a home is filled with real images, and an agent exports, trains, annotates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from mcp import Client, StdioServerParameters
from PIL import Image
from tool_calls import call, refused
from typer.testing import CliRunner, Result
from upload_worlds import TrippingBackend

from synapse_core.backend import FileSpecification
from synapse_core.backend.local import LocalBackend
from synapse_core.datasets import read
from synapse_core.errors import Conflict
from synapse_core.registry import Registry
from synapse_mcp.cli import app
from synapse_mcp.digit_sheets import Sheet, draw_sheets
from synapse_mcp.seed import NAME, SHEETS, TRAINED_ON, VALIDATED_ON, seed

pytestmark = pytest.mark.anyio

ANNOTATED = TRAINED_ON + VALIDATED_ON
OPEN = SHEETS - ANNOTATED


@pytest.fixture
def backend(home: Path) -> Iterator[LocalBackend]:
    opened = LocalBackend(home)
    yield opened
    opened.close()


@pytest.fixture
def seeded(backend: LocalBackend) -> LocalBackend:
    seed(backend)
    return backend


@pytest.fixture(scope="module")
def sheets() -> list[Sheet]:
    """What is on the pages, in the order of the tasks."""
    return draw_sheets(SHEETS)


def with_home(home: Path) -> StdioServerParameters:
    environment = {**os.environ, "SYNAPSE_HOME": str(home)}
    return StdioServerParameters(command=sys.executable, args=["-m", "synapse_mcp"], env=environment)


def demo_seed() -> Result:
    """Run `synapse-mcp demo --seed` in this process."""
    return CliRunner().invoke(app, ["demo", "--seed"], env={"COLUMNS": "200", "NO_COLOR": "1"})


def contents(backend: LocalBackend) -> dict[str, object]:
    listings = {
        "collections": backend.list_data_collections(),
        "units": backend.list_data_units(),
        "projects": backend.list_projects(),
        "tasks": backend.list_tasks(),
        "assignments": backend.list_assignments(),
        "versions": backend.list_ground_truth_versions(),
        "truths": backend.list_ground_truths(),
        "models": backend.list_models(),
    }
    return {name: [msgspec.to_builtins(one) for one in found] for name, found in listings.items()}


async def run_to_end(client: Client, plugin: str, action: str, mode: str = "local", **params: object):
    """Run an action and return it ended, however it ended."""
    run = await call(
        client, "run_action", plugin=plugin, action=action, mode=mode, params=params, wait_seconds=50
    )
    while not run["done"]:
        run = await call(client, "get_run", run_id=run["run_id"], wait_seconds=50)
    return run


async def result_of(client: Client, plugin: str, action: str, mode: str = "local", **params: object):
    run = await run_to_end(client, plugin, action, mode, **params)
    assert run["state"] == "succeeded", run
    return run["result"]


def boxes_of(document: Mapping[str, object]) -> list[tuple[str, list[float]]]:
    (media,) = document["images"]
    return [(one["classification"], one["data"]) for one in media["bounding_box"]]


def overlap(one: list[float], other: list[float]) -> float:
    """Return the intersection over the union of two boxes, in [0, 1]."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


# Filling a home


def test_a_home_is_filled_once_and_what_can_be_done_next_is_told(home: Path, backend: LocalBackend):
    command = [sys.executable, "-m", "synapse_mcp", "demo", "--seed"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"{OPEN} of them without annotations" in first.stdout
    before = contents(backend)

    again = demo_seed()

    assert again.exit_code == 0, again.output
    assert "Nothing to add" in again.stdout
    assert contents(backend) == before
    assert {name: len(found) for name, found in before.items()} == {
        "collections": 1,
        "units": SHEETS,
        "projects": 1,
        "tasks": SHEETS,
        "assignments": ANNOTATED,
        "versions": 1,
        "truths": ANNOTATED,
        "models": 0,
    }
    assert before["versions"][0]["counts"] == {"train": TRAINED_ON, "validation": VALIDATED_ON}
    for command in ("coco_export export", "folder_upload upload", "pre_annotate train"):
        assert f"synapse-mcp run {command}" in again.stdout


def test_the_stored_images_show_the_digits_where_the_boxes_are(seeded: LocalBackend, tmp_path: Path):
    for task in list(seeded.list_tasks({"status": "submitted"}))[:3]:
        image = seeded.download_file(task.files["image"], tmp_path / f"{task.id}.png")
        with Image.open(image) as page:
            ink = page.point([255 * (grey < 188) for grey in range(256)])
            for _, (left, top, width, height) in boxes_of(task.data):
                box = (left, top, left + width, top + height)
                assert ink.crop(box).getbbox() is not None
                ink.paste(0, box)
            assert ink.getbbox() is None, "there is ink outside of the boxes"


def test_what_was_interrupted_is_completed(backend: LocalBackend, tmp_path: Path):
    class Interruption(Exception):
        pass

    calls = []

    def trip(name: str) -> None:
        calls.append(name)
        if calls.count("annotate_task_data") == 5:
            raise Interruption

    with pytest.raises(Interruption):
        seed(TrippingBackend(backend, trip))
    found = seed(backend)

    whole = LocalBackend(tmp_path / "other")
    seed(whole)
    assert found.is_new
    assert contents(backend).keys() == contents(whole).keys()
    for name, records in contents(whole).items():
        assert len(contents(backend)[name]) == len(records), name
    whole.close()


def test_a_project_of_somebody_else_is_left_alone(backend: LocalBackend):
    backend.create_data_collection(NAME, [FileSpecification(name="image", is_primary=True)])
    before = contents(backend)

    with pytest.raises(Conflict, match="not made by this command"):
        seed(backend)

    assert contents(backend) == before


def test_without_scikit_learn_the_command_that_installs_it_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    # What Python finds where a package is absent.
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    told = demo_seed()

    assert told.exit_code == 1
    assert "pip install 'synapse-mcp[demo]'" in told.stdout


def test_a_home_with_another_backend_is_not_filled(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNAPSE_HOST", "http://127.0.0.1:9")

    told = demo_seed()

    assert told.exit_code == 1
    assert "only an embedded one is filled" in told.stdout
    assert not (home / "synapse.db").exists()


# The plugins


@pytest.mark.parametrize("code", ["coco_export", "folder_upload", "pre_annotate"])
def test_an_example_validates_and_every_action_and_parameter_is_described(registry: Registry, code: str):
    described = registry.describe(code)

    assert described.issues == ()
    for action in described.actions:
        assert len(action.description) > 40
        for name, schema in action.params_schema["properties"].items():
            assert schema.get("description"), f"{action.name}.{name}"


async def test_an_agent_exports_trains_and_annotates_and_nothing_else_changes(
    seeded: LocalBackend, sheets: list[Sheet], server_command: StdioServerParameters, tmp_path: Path
):
    before = contents(seeded)
    async with Client(server_command) as client:
        exported = await result_of(client, "coco_export", "export")
        looked = await call(client, "inspect_dataset", path=exported["output_path"])
        trained = await result_of(client, "pre_annotate", "train")
        annotated = await result_of(client, "pre_annotate", "annotate")
        again = await result_of(client, "pre_annotate", "annotate")

    # The export: a COCO dataset with every digit.
    digits = [digit for sheet in sheets[:ANNOTATED] for digit in sheet.digits]
    assert (exported["format"], exported["exported_count"], exported["losses"]) == ("coco", ANNOTATED, {})
    assert exported["annotations"] == len(digits)
    dataset = looked["dataset"]
    assert (dataset["format"], dataset["images"], dataset["annotations"]) == ("coco", ANNOTATED, len(digits))
    assert dataset.get("problems", []) == []
    root = Path(unquote(urlsplit(exported["output_path"]).path))
    assert sorted(path.name for path in root.iterdir()) == ["annotations", "images"]
    header, items = read(root)
    first = next(items)
    found = [(header.classes[one.label].name, one.box) for one in first.annotations]
    assert found == [(digit.name, tuple(map(float, digit.box))) for digit in sheets[0].digits]

    # The model: registered with where it comes from, and measured on what it has not seen.
    (model,) = seeded.list_models()
    assert (model.id, model.plugin, model.dataset) == (trained["model_id"], "pre_annotate", 1)
    assert trained["examples"] == sum(len(sheet.digits) for sheet in sheets[:TRAINED_ON])
    assert trained["accuracy"] >= 0.88
    assert model.metrics["validation/accuracy"] == trained["accuracy"]

    # The tasks that were open: still so, with the right boxes; all others as they were.
    assert (annotated["success_count"], annotated["failed_count"]) == (OPEN, 0)
    assert again["total_tasks"] == 0
    after = contents(seeded)
    assert after["tasks"][:ANNOTATED] == before["tasks"][:ANNOTATED]
    assert after["assignments"] == before["assignments"]
    there, right, proposed = 0, 0, 0
    for task, sheet in zip(after["tasks"][ANNOTATED:], sheets[ANNOTATED:], strict=True):
        assert task["status"] == "open"
        proposals = boxes_of(task["data"])
        proposed += len(proposals)
        for digit in sheet.digits:
            name, box = max(proposals, key=lambda one: overlap(one[1], list(digit.box)))
            if overlap(box, list(digit.box)) >= 0.8:
                there += 1
                right += name == digit.name
    wanted = sum(len(sheet.digits) for sheet in sheets[ANNOTATED:])
    print(f"{proposed} boxes proposed for {wanted} digits: {there} fit, {right} with the right class")
    assert proposed <= wanted * 1.05
    assert there >= wanted * 0.95
    assert right >= wanted * 0.88


async def test_a_ground_truth_version_is_exported_beside_what_is_there(
    seeded: LocalBackend, server_command: StdioServerParameters
):
    broken = {"classification": {}, "images": "none"}
    task = next(iter(seeded.list_tasks({"status": "open"})))
    seeded.annotate_task_data(task.id, {"action": "submit", "data": broken})
    async with Client(server_command) as client:
        everything = await result_of(client, "coco_export", "export")
        few = await result_of(
            client,
            "coco_export",
            "export",
            target="ground_truth",
            filter={"ground_truth_version": 1, "category": "validation"},
            classes=["two", "one"],
            save_original_file=False,
        )
        looked = await call(client, "inspect_dataset", path=few["output_path"])

    # One document that is none does not stop the others.
    assert everything["annotations"] == ANNOTATED * 12
    assert few["output_path"] != everything["output_path"]
    assert few["exported_count"] == VALIDATED_ON
    assert few["classes"] == ["two", "one"]
    assert looked["dataset"]["format"] == "coco"
    assert looked["dataset"]["images"] == VALIDATED_ON
    root = Path(unquote(urlsplit(few["output_path"]).path))
    assert sorted(path.name for path in root.iterdir()) == ["annotations", "losses.jsonl"]
    assert sum(few["losses"].values()) == VALIDATED_ON * 12 - few["annotations"]


async def test_open_tasks_get_the_boxes_of_a_coco_file(
    seeded: LocalBackend, sheets: list[Sheet], server_command: StdioServerParameters, tmp_path: Path
):
    sheet = sheets[ANNOTATED]
    rows = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": list(digit.box), "area": 1, "iscrowd": 0}
        for number, digit in enumerate(sheet.digits, start=1)
    ]
    image = {"id": 1, "file_name": f"sheet_{ANNOTATED + 1}.png", "width": 320, "height": 240}
    file = tmp_path / "instances.json"
    content = {"images": [image], "annotations": rows, "categories": [{"id": 1, "name": "digit"}]}
    file.write_text(json.dumps(content))

    async with Client(server_command) as client:
        result = await result_of(
            client, "pre_annotate", "annotate", method="file", file_path=str(file), submit=True
        )

    # The file speaks of one image; the other tasks are told, and stay as they are.
    assert (result["success_count"], result["failed_count"]) == (1, OPEN - 1)
    task = seeded.get_task(ANNOTATED + 1)
    assert task.status == "submitted"
    assert boxes_of(task.data) == [("digit", list(map(float, digit.box))) for digit in sheet.digits]
    assert seeded.list_assignments().count == ANNOTATED + 1


async def test_a_folder_is_uploaded_with_sizes_and_metadata_and_once(
    seeded: LocalBackend, server_command: StdioServerParameters, tmp_path: Path
):
    folder = tmp_path / "pages"
    folder.mkdir()
    Image.new("L", (30, 20), 250).save(folder / "small.png")
    Image.new("L", (300, 200), 250).save(folder / "large.png")
    (folder / "broken.png").write_bytes((folder / "large.png").read_bytes()[:60])
    (folder / "notes.docx").write_bytes(b"no image")
    (folder / "meta.csv").write_text("filename,writer\nsmall.png,Ada\n")

    async with Client(server_command) as client:
        samples = await result_of(client, "folder_upload", "upload")
        again = await result_of(client, "folder_upload", "upload")
        mine = await result_of(
            client, "folder_upload", "upload", path=str(folder), data_collection=1, most_megapixels=0.01
        )

    assert (samples["data_units"], samples["partial_failure"]) == (4, False)
    assert (again["data_units"], again["skipped_duplicates"]) == (0, 4)
    assert again["data_collection"] == samples["data_collection"] != 1
    uploaded = list(seeded.list_data_units({"data_collection": samples["data_collection"]}))
    assert [(unit.meta["width"], unit.meta["height"], unit.meta["digits"]) for unit in uploaded] == [
        (320, 240, "12")
    ] * 4
    assert (mine["data_units"], mine["partial_failure"]) == (1, True)
    reasons = {one["path"]: one["message"] for one in mine["failed_files"]}
    assert set(reasons) == {"broken.png", "large.png", "notes.docx"}
    assert "300 x 200" in reasons["large.png"]
    unit = list(seeded.list_data_units({"data_collection": 1}))[-1]
    assert (unit.meta["width"], unit.meta["height"], unit.meta["writer"]) == (30, 20, "Ada")


async def test_the_ground_truth_version_is_downloaded_and_converted_by_runs(
    seeded: LocalBackend, server_command: StdioServerParameters
):
    async with Client(server_command) as client:
        await call(
            client, "create_plugin", code="mine", category="neural_net", actions=["download", "convert"]
        )
        downloaded = await result_of(client, "mine", "download", dataset=1)
        converted = await result_of(client, "mine", "convert", path=downloaded["path"])
        looked = await call(client, "inspect_dataset", path=converted["path"])

    assert (downloaded["format"], downloaded["count"]) == ("dm_v2", ANNOTATED)
    splits = {one["name"]: one["images"] for one in looked["dataset"]["splits"]}
    assert looked["dataset"]["format"] == "yolo"
    assert splits == {"train": TRAINED_ON, "val": VALIDATED_ON}


async def test_where_there_is_nothing_to_work_with_the_next_command_is_told(
    home: Path, server_command: StdioServerParameters
):
    async with Client(server_command) as client:
        for plugin, action, words in (
            ("coco_export", "export", "demo --seed"),
            ("pre_annotate", "train", "demo --seed"),
            ("pre_annotate", "annotate", "pre_annotate/train"),
        ):
            error = await refused(
                client, "run_action", plugin=plugin, action=action, mode="local", wait_seconds=50
            )
            assert error["code"] == "invalid_request"
            assert words in error["message"], "what the plugin says of it, as its own words"
        for params, words in (
            ({"method": "file"}, "file_path"),
            ({"file_path": "x.json"}, "set method to file"),
            ({"gap_pixels": -1}, "gap_pixels"),
        ):
            error = await refused(
                client, "run_action", plugin="pre_annotate", action="annotate", mode="local", params=params
            )
            assert error["code"] == "invalid_params"
            assert words in json.dumps(error)


@pytest.mark.ray
async def test_a_model_is_trained_and_used_on_ray(ray_home: Path):
    backend = LocalBackend(ray_home)
    seeded = seed(backend)
    async with Client(with_home(ray_home)) as client:
        trained = await result_of(client, "pre_annotate", "train", "task", dataset=seeded.version.id)
        params = {"project": seeded.project.id, "model_id": trained["model_id"]}
        annotated = await result_of(client, "pre_annotate", "annotate", "task", **params)

    assert (annotated["success_count"], annotated["failed_count"]) == (OPEN, 0)
    open_tasks = list(backend.list_tasks({"project": seeded.project.id, "status": "open"}))
    assert all(boxes_of(task.data) for task in open_tasks)
    backend.close()
