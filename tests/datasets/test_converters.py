"""The converters that plugins were promised: in one call, plain and with splits, and for single files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png
from dm_worlds import HEIGHT, WIDTH, box, make_dm, read_json, two

from synapse_core.datasets import (
    DatasetFormat,
    DMVersion,
    FromDMConverter,
    ToDMConverter,
    convert_v1_to_v2,
    get_converter,
)
from synapse_core.errors import InvalidDataset, InvalidRequest, SynapseError, UnknownConversion

DOCUMENT = two(bounding_box=[box("a", "car", 10, 6, 20, 12)])
ROW = "0 0.500000 0.400000 0.500000 0.400000"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return make_dm(tmp_path / "plain", {"x": DOCUMENT})


@pytest.fixture
def categorised(tmp_path: Path) -> Path:
    return make_dm(tmp_path / "categorised", {"train/x": DOCUMENT, "valid/y": DOCUMENT})


def test_dm_becomes_yolo_in_one_call(plain: Path, tmp_path: Path):
    converter = get_converter("dm_v2", "yolo", root_dir=plain)
    texts = converter.convert()
    converter.save_to_folder(tmp_path / "out")

    assert texts["labels/train/x.txt"] == f"{ROW}\n"
    assert (tmp_path / "out/labels/train/x.txt").read_text() == f"{ROW}\n"
    assert (tmp_path / "out/images/train/x.png").is_file()
    assert converter.get_config_path(tmp_path / "out") == tmp_path / "out/data.yaml"
    assert converter.result is not None
    assert converter.result.losses.is_lossless


@pytest.mark.parametrize("target", ["yolo", "coco", "pascal"])
def test_splits_stay_and_everything_comes_back(categorised: Path, tmp_path: Path, target: str):
    get_converter("dm_v2", target, root_dir=categorised, is_categorized=True).save_to_folder(tmp_path / "out")
    back = get_converter(target, "dm_v2", root_dir=tmp_path / "out")
    back.save_to_folder(tmp_path / "back")

    for name in ("train/json/x.json", "valid/json/y.json"):
        [found] = read_json(tmp_path / "back" / name)["images"][0]["bounding_box"]
        assert (found["classification"], found["data"]) == ("car", pytest.approx([10, 6, 20, 12]))
    assert (tmp_path / "back/train/original_files/x.png").is_file()
    assert isinstance(back, ToDMConverter)


def test_a_set_without_splits_is_not_categorised(plain: Path):
    with pytest.raises(InvalidDataset, match="no folder train"):
        get_converter("dm_v2", "yolo", root_dir=plain, is_categorized=True).convert()


def test_the_versions_of_dm_are_a_pair(plain: Path, tmp_path: Path):
    converter = get_converter(DatasetFormat.DM_V2, DatasetFormat.DM_V1, root_dir=plain)
    documents = converter.convert()

    assert isinstance(converter, FromDMConverter)
    assert converter.dm_version is DMVersion.V2
    assert documents["json/x.json"]["extra"] == {"image_1": {"width": WIDTH, "height": HEIGHT}}


@pytest.mark.parametrize(("source", "target"), [("yolo", "coco"), ("dm_v2", "dm_v2"), ("foo", "yolo")])
def test_a_pair_that_is_not_there_is_refused_with_those_that_are(source: str, target: str):
    with pytest.raises(ValueError, match="dm_v2 -> yolo, ") as caught:
        get_converter(source, target, root_dir="x")

    assert isinstance(caught.value, UnknownConversion)
    assert isinstance(caught.value, SynapseError)
    assert "coco -> dm_v1" in caught.value.details["pairs"]


def test_a_converter_needs_a_folder_or_single_files(plain: Path):
    with pytest.raises(InvalidRequest, match="root_dir"):
        get_converter("dm_v2", "yolo")
    with pytest.raises(InvalidRequest, match="single"):
        get_converter("dm_v2", "yolo", root_dir=plain).convert_single_file(DOCUMENT, plain)
    with pytest.raises(InvalidRequest, match="single"):
        get_converter("dm_v2", "yolo", is_single_conversion=True).convert()


def image() -> io.BytesIO:
    file = io.BytesIO(png(WIDTH, HEIGHT))
    file.name = "folder/x.png"
    return file


@pytest.mark.parametrize("document", [DOCUMENT, convert_v1_to_v2({"annotations": {}, "annotationsData": {}})])
def test_one_document_becomes_rows(document: dict[str, Any]):
    rows = FromDMConverter(is_single_conversion=True).convert_single_file(document, image())

    assert rows == ([ROW] if document is DOCUMENT else [])


def test_one_document_becomes_what_the_target_has():
    def to(target: str) -> Any:
        return get_converter("dm_v2", target, is_single_conversion=True).convert_single_file(
            DOCUMENT, image()
        )

    assert to("coco")["annotations"][0]["bbox"] == [10, 6, 20, 12]
    assert "<xmax>30</xmax>" in to("pascal")
    assert to("dm_v1")["annotations"]["image_1"][0]["tool"] == "bounding_box"


def test_one_label_becomes_a_document(tmp_path: Path):
    converter = get_converter("yolo", "dm_v2", is_single_conversion=True)
    made = converter.convert_single_file([ROW], image(), class_names=["car"])

    assert made["image_name"] == "x.png"
    [found] = made["dm_json"]["images"][0]["bounding_box"]
    assert (found["classification"], found["data"]) == ("car", [10, 6, 20, 12])

    texts = FromDMConverter(is_single_conversion=True, target_format="pascal")
    text = texts.convert_single_file(DOCUMENT, image())
    made = get_converter("pascal", "dm_v1", is_single_conversion=True).convert_single_file(text, image())
    assert made["dm_json"]["annotationsData"]["image_1"][0]["coordinate"]["width"] == 20

    coco = get_converter("dm_v2", "coco", is_single_conversion=True).convert_single_file(DOCUMENT, image())
    made = get_converter("coco", "dm_v2", is_single_conversion=True).convert_single_file(
        coco, image(), original_image_name="x.png"
    )
    assert made["dm_json"]["images"][0]["bounding_box"][0]["data"] == [10, 6, 20, 12]
