"""One file read by several processes: nobody can tell from what is written.

In processes of their own, as a process with the threads of a test runner is not forked.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dataset_worlds import png

IMAGES = 60
ROWS = 1_500
CONVERTED = """
import hashlib, json, sys
from pathlib import Path
from synapse_core.datasets import convert
from synapse_core.datasets import shares
from synapse_core.datasets.formats import coco_spans, json_stream
from synapse_core.errors import SynapseError

coco_spans._PARALLEL_BYTES, json_stream._BLOCK_BYTES = 1, 4096
shares._PARALLEL_FILES, shares._SHARE_FILES = 1, 7
are_whole = []
real = coco_spans._read_at_once

def read_at_once(*given, **named):
    span = real(*given, **named)
    are_whole.append(span.is_last)
    return span

coco_spans._read_at_once = read_at_once
source, folder = sys.argv[1:]
told = []
for workers in (1, 2, 3):
    for target, options in (("yolo", {"task": "detect"}), ("yolo", {"task": "segment"}), ("coco", {})):
        out = Path(folder, f"{target}{workers}{options}")
        del are_whole[:]
        try:
            convert(source, target, out, images="none", workers=workers, **options)
        except SynapseError as error:
            told.append((workers, error.message, None))
            continue
        digest = hashlib.sha256()
        for path in sorted(out.rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(out)).encode() + path.read_bytes())
        told.append((workers, digest.hexdigest(), list(are_whole)))
print(json.dumps(told))
"""


def converted(source: Path, folder: Path) -> list[Any]:
    """Return (workers, digest or error, whether the processes read the file to its end) by conversion."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERTED, str(source), str(folder)], capture_output=True, check=True
    )
    return json.loads(done.stdout)


def row(number: int, chance: random.Random, owner: int) -> dict[str, Any]:
    x, y, width, height = (round(chance.uniform(0, 200), 2) for _ in range(4))
    return {
        "id": number,
        "image_id": owner,
        "category_id": 1 + 2 * (number % 2),
        "bbox": [x, y, width, height],
        "area": round(width * height, 3),
        "iscrowd": 0,
    }


def plain(one: dict[str, Any], chance: random.Random) -> None:
    pass


def outlined(one: dict[str, Any], chance: random.Random) -> None:
    ring = [round(chance.uniform(0, 400), 1) for _ in range(2 * chance.randint(3, 9))]
    one["segmentation"] = [ring]


def mixed(one: dict[str, Any], chance: random.Random) -> None:
    """All that files of the field hold."""
    outlined(one, chance)
    ring = one["segmentation"][0]
    change = chance.choice(
        [
            {},
            {},
            {},
            {"segmentation": [ring, ring[:6]]},
            {"segmentation": []},
            {"segmentation": None},
            {"segmentation": [ring[:5]]},
            {"segmentation": {"counts": [10, 20, 640 * 480 - 30], "size": [480, 640]}, "iscrowd": 1},
            {"bbox": [1, 2, 0, 4]},
            {"bbox": [1, 2, 2000, 4]},
            {"area": None},
            {"id": None},
        ]
    )
    one.update(change)


def odd(one: dict[str, Any], chance: random.Random) -> None:
    """What looks like the border of two annotations and is none, and what cannot be read."""
    mixed(one, chance)
    change = chance.choice(
        [
            {},
            {},
            {"note": 'x},{y},\n{ "bbox": [1]'},
            {"attributes": {"list": [{"a": 1}, {"image_id": 3}]}},
            {"image_id": 99_999},
            {"category_id": 77},
            {"id": "text"},
            {"bbox": [float("nan"), 1, 2, 3]},
        ]
    )
    one.update(change)


@pytest.fixture(params=[None, 1], ids=["minified", "indented"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with one COCO file of such rows."""

    def make(change: Callable[[dict[str, Any], random.Random], None], *, is_sorted: bool) -> Path:
        chance = random.Random(5)
        owners = [3 * chance.randrange(IMAGES) + 1 for _ in range(ROWS)]
        rows = [
            row(number, chance, owner)
            for number, owner in enumerate(sorted(owners) if is_sorted else owners, 1)
        ]
        for one in rows:
            change(one, chance)
        images = [
            {"id": 3 * number + 1, "file_name": f"{number}.jpg", "width": 640, "height": 480}
            for number in range(IMAGES)
        ]
        document = {
            "images": images,
            "annotations": rows,
            "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}],
            "info": {"list": [{"a": 1}, {"b": 2}]},
        }
        folder = tmp_path / "in"
        folder.mkdir()
        (folder / "instances_train.json").write_text(json.dumps(document, indent=request.param))
        return folder

    return make


@pytest.mark.parametrize("is_sorted", [True, False], ids=["sorted", "shuffled"])
@pytest.mark.parametrize("change", [plain, outlined, mixed, odd])
def test_any_number_of_processes_writes_the_same(
    world: Callable[..., Path], tmp_path: Path, change: Any, is_sorted: bool
):
    told = converted(world(change, is_sorted=is_sorted), tmp_path)

    by_one = [digest for workers, digest, _ in told if workers == 1]
    for workers in (2, 3):
        assert [digest for number, digest, _ in told if number == workers] == by_one
    if change is not odd:
        assert all(are_whole == [True] for workers, _, are_whole in told if workers > 1)
    assert all(are_whole == [] for workers, _, are_whole in told if workers == 1)


def test_what_is_broken_is_told_as_by_one_process(world: Callable[..., Path], tmp_path: Path):
    folder = world(outlined, is_sorted=False)
    file = folder / "instances_train.json"
    text = file.read_text()
    at = text.index('"bbox"', 3 * len(text) // 4)
    file.write_text(text[:at] + "nonsense" + text[at:])

    told = converted(folder, tmp_path)

    assert len({message for _, message, _ in told}) == 1
    assert "is not whole JSON" in told[0][1]


def test_a_long_annotation_across_the_middle_is_read_by_one_process(tmp_path: Path):
    chance = random.Random(5)
    rows = [row(number, chance, 1) for number in range(1, 61)]
    rows[30]["attributes"] = {"list": [{"a": number} for number in range(5_000)]}
    (tmp_path / "in").mkdir()
    (tmp_path / "in/instances_train.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "1.jpg", "width": 640, "height": 480}],
                "annotations": rows,
                "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}],
            }
        )
    )

    told = converted(tmp_path / "in", tmp_path)

    assert [digest for _, digest, _ in told[3:6]] == [digest for _, digest, _ in told[:3]]
    assert all(are_whole == [False] for workers, _, are_whole in told if workers > 1)


def test_the_xml_files_of_a_dataset_are_looked_into_alike(tmp_path: Path):
    folder = tmp_path / "in/Annotations"
    folder.mkdir(parents=True)
    for number in range(50):
        name = "dog" if number % 2 else f"only in {number}"
        text = (
            f"<annotation><filename>pic{number}.jpg</filename><size><width>640</width><height>480</height>"
            f"<depth>3</depth></size><object><name>{name}</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
            f"<xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        )
        (folder / f"{number}.xml").write_text(text if number != 20 else text[:50])

    told = converted(tmp_path / "in", tmp_path)

    assert len({(digest, at % 3) for at, (_, digest, _) in enumerate(told)}) == 3


def test_the_documents_of_a_dataset_are_looked_into_alike(tmp_path: Path):
    folder = tmp_path / "in/json"
    folder.mkdir(parents=True)
    for number in range(50):
        box = {
            "id": f"b{number}",
            "classification": f"class {number % 3}",
            "attrs": [],
            "data": [1, 2, 30, 40],
        }
        points = [{"id": f"k{number}", "classification": "person", "attrs": [], "data": [5, 6]}]
        image = {"bounding_box": [box], **({"keypoint": points} if number % 10 == 0 else {})}
        document = {"classification": {"bounding_box": [box["classification"]]}, "images": [image]}
        text = json.dumps(document)
        (folder / f"{number}.json").write_text(text[:40] if number in (20, 21, 40) else text)
    pictures = tmp_path / "in/original_files"
    pictures.mkdir()
    for number in range(50):
        (pictures / f"{number}.png").write_bytes(png(100, 80))

    told = converted(tmp_path / "in", tmp_path)

    assert [digest for _, digest, _ in told[3:6]] == [digest for _, digest, _ in told[:3]]
    assert [digest for _, digest, _ in told[6:]] == [digest for _, digest, _ in told[:3]]
    losses = (tmp_path / "coco2{}/losses.jsonl").read_text()
    assert losses.count("BAD_FILE") == 3
