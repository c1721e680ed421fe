"""One hundred images of Pascal VOC, annotated once and exported by third parties in eight forms.

What we make of any form has to be what the third party made of it: the same classes, the same boxes to a
thousandth of a pixel, in any order.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from dataset_worlds import read_all
from real_data_places import DATA

from synapse_core.datasets.conversion import ConversionResult, convert
from synapse_core.datasets.formats import find_format

VOC100 = DATA / "voc100_multiformat"
FORMS = {
    "coco": "coco_format_v1",
    "voc": "pascalvoc_format",
    "voc_by_cvat": "imagenet_format",
    "cvat": "cvat_format",
    "labelme": "labelme_format",
    "open_images": "openimages_format",
    "yolo": "yolo_format",
}
TARGETS = ("coco", "voc", "yolo", "cvat", "labelme", "createml", "open_images")
# Six digits of a number relative to at most 500 pixels, for the centre and half of the width.
YOLO_ERROR = 0.0005
# The third party's own YOLO files have six digits too, and its table ten.
TOLERANCE = 0.001

pytestmark = pytest.mark.skipif(
    not VOC100.is_dir(), reason="the real data sets are not here; SYNAPSE_TEST_DATA says where they are"
)

Boxes = dict[str, list[tuple[str, tuple[float, ...]]]]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each form in it, and the images where the form has them: below `images`, by hard
    links."""
    root = tmp_path_factory.mktemp("voc100")
    for name, folder in FORMS.items():
        for file in (VOC100 / folder).rglob("*"):
            if file.is_file():
                _place(file, root / name / file.relative_to(VOC100 / folder))
        images = "." if name in ("voc", "labelme") else "obj_train_data" if name == "yolo" else "images"
        if name == "voc_by_cvat":
            images = "JPEGImages"
        for image in (VOC100 / "images").iterdir():
            _place(image, root / name / images / image.name)
    return root


def _place(file: Path, there: Path) -> None:
    there.parent.mkdir(parents=True, exist_ok=True)
    if not there.exists():
        there.write_bytes(file.read_bytes())


def format_of(form: str) -> str:
    return "voc" if form == "voc_by_cvat" else form


def boxes_of(root: Path, form: str) -> Boxes:
    """Return file name -> (class, box) of everything, sorted by class and place."""
    header, items, losses = read_all(root, format_of(form))
    assert not losses.codes
    return {
        key.rpartition("/")[2]: sorted(
            (header.classes[one.label].name, tuple(one.box or ())) for one in item.annotations
        )
        for key, item in items.items()
    }


def largest_difference(one: Boxes, other: Boxes) -> float:
    """Return by how many pixels two sets differ at most; infinity where they are not of the same things."""
    if set(one) != set(other):
        return math.inf
    largest = 0.0
    for key, ours in one.items():
        left = list(other[key])
        for name, box in ours:
            near = [
                (max(abs(a - b) for a, b in zip(box, there, strict=True)), at)
                for at, (their_name, there) in enumerate(left)
                if their_name == name
            ]
            if not near:
                return math.inf
            difference, at = min(near)
            left.pop(at)
            largest = max(largest, difference)
        if left:
            return math.inf
    return largest


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_boxes(forms: Path, form: str):
    ours = boxes_of(forms / form, form)

    assert sum(map(len, ours.values())) == 273
    assert largest_difference(ours, boxes_of(forms / "voc", "voc")) <= TOLERANCE


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_every_format(forms: Path, tmp_path: Path, form: str, target: str):
    result = convert(forms / form, target, tmp_path / "out", source_format=format_of(form))

    # The pose of a thing, CVAT's mark that it is not occluded, and the licence of an image.
    assert set(result.losses.reasons) <= {"ATTRIBUTES_DROPPED", "FIELDS_DROPPED"}
    assert result.losses.written == 273
    assert len(result.losses.classes) >= 20
    made = boxes_of(tmp_path / "out", target)
    assert largest_difference(made, boxes_of(forms / "voc", "voc")) <= TOLERANCE
    assert (
        largest_difference(made, boxes_of(forms / form, form))
        <= 2 * result.losses.largest_error_pixels + 1e-9
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_recognised(forms: Path, tmp_path: Path, form: str):
    result = convert(forms / form, "voc", dry_run=True)

    assert result.source_format == format_of(form)


def test_a_ring_through_all_formats_comes_back(forms: Path, tmp_path: Path):
    before = forms / "voc"
    name = "voc"
    results: list[ConversionResult] = []
    for number, target in enumerate([*TARGETS, "voc"]):
        after = tmp_path / f"{number}_{target}"
        results.append(convert(before, target, after, source_format=name))
        before, name = after, target

    assert all(set(result.losses.reasons) <= {"ATTRIBUTES_DROPPED"} for result in results)
    assert {result.losses.written for result in results} == {273}
    assert largest_difference(boxes_of(before, "voc"), boxes_of(forms / "voc", "voc")) <= YOLO_ERROR
    first, _, _ = read_all(forms / "voc", "voc")
    last, _, _ = read_all(before, "voc")
    assert [entry.name for entry in last.classes] == [entry.name for entry in first.classes]


@pytest.mark.parametrize("target", ["coco", "voc", "yolo", "cvat", "createml"])
def test_the_number_of_processes_changes_no_byte(
    forms: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("synapse_core.datasets.dividing.PART_ITEMS", 30)
    alone = convert(forms / "voc", target, tmp_path / "alone", source_format="voc", workers=1)
    shared = convert(forms / "voc", target, tmp_path / "shared", source_format="voc", workers=3)

    assert alone.losses == shared.losses
    files = {
        path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*") if path.is_file()
    }
    assert files == {
        path.relative_to(tmp_path / "shared") for path in (tmp_path / "shared").rglob("*") if path.is_file()
    }
    for path in files:
        assert (tmp_path / "alone" / path).read_bytes() == (tmp_path / "shared" / path).read_bytes()


def test_images_without_objects_are_kept_in_all_targets(forms: Path, tmp_path: Path):
    """Ten of the hundred images lose their objects, and are images all the same."""
    bare = tmp_path / "bare"
    for file in (forms / "voc").iterdir():
        _place(file, bare / file.name)
    emptied = sorted(bare.glob("*.xml"))[:10]
    for file in emptied:
        text = file.read_text()
        file.write_text(text[: text.index("<object>")] + "</annotation>")

    for target in TARGETS:
        if find_format(target).write is not None:
            convert(bare, target, tmp_path / target, source_format="voc")
            made = boxes_of(tmp_path / target, target)
            assert sorted(key for key, boxes in made.items() if not boxes) == [
                f"{file.stem}.jpg" for file in emptied
            ]
