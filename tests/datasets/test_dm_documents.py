"""DM documents: version 1 to 2 and back loses nothing, and every annotation of any tool is accounted for."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
from dm_worlds import box, documents, make_dm, read_json, two
from hypothesis import HealthCheck, given, settings

from synapse_core.datasets import convert, convert_v1_to_v2, convert_v2_to_v1
from synapse_core.datasets.formats import formats
from synapse_core.datasets.formats.dm_documents import media_of, to_v1, to_v2
from synapse_core.errors import InvalidDataset

_slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WRITABLE = [known.name for known in formats() if known.write is not None]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_version_1_comes_back_from_version_2_and_what_was_kept(document: dict[str, Any]):
    before = copy.deepcopy(document)
    result = convert_v1_to_v2(document)

    assert convert_v2_to_v1(result) == before
    assert convert_v2_to_v1(result["annotation_data"], result["annotation_meta"]) == before
    assert document == before, "what was given is left as it was"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_every_annotation_of_version_1_stands_in_version_2(document: dict[str, Any]):
    media = media_of(to_v2(document))

    entries = sum(len(entries) for _, one in media for tool, entries in one.items() if tool != "group")
    relations = sum(map(len, document.get("relations", {}).values()))
    assert entries == relations + sum(map(len, document["annotations"].values()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_version_2_comes_back_from_version_1_and_what_was_kept(document: dict[str, Any]):
    result = to_v2(document)

    assert to_v2(to_v1(result), result) == result


@_slow
@given(documents())
def test_a_folder_comes_back_through_version_2_where_nothing_is_broken(document: dict[str, Any]):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = make_dm(root / "one", {"x": document})
        there = convert(source, "dm_v2", root / "two", source_format="dm_v1")
        back = convert(root / "two", "dm_v1", root / "back", source_format="dm_v2")

        told = {code for code in there.losses.reasons if code not in ("IMAGE_MISSING", "DUPLICATE_ID")}
        if not told:
            assert back.losses.seen == there.losses.seen
            assert read_json(root / "back/json/x.json") == document


@pytest.mark.parametrize("target", WRITABLE)
@_slow
@given(document=documents())
def test_every_annotation_is_accounted_for(target: str, document: dict[str, Any]):
    with tempfile.TemporaryDirectory() as folder:
        source = make_dm(Path(folder) / "one", {"x": document})
        losses = convert(source, target, dry_run=True, source_format="dm_v1").losses

    assert all(counts.is_balanced for counts in losses.kinds.values())
    left_out = sum(counts.skipped + counts.failed for counts in losses.kinds.values())
    assert left_out <= sum(losses.reasons.values()), "whatever is left out has a reason"


def test_what_changed_in_version_2_keeps_what_only_version_1_has():
    item = {
        "id": "a",
        "tool": "polygon",
        "isLocked": True,
        "label": ["x"],
        "classification": {"class": "car"},
    }
    corners = [{"x": 0, "y": 0, "id": "p"}, {"x": 9, "y": 0, "id": "q"}, {"x": 9, "y": 9, "id": "r"}]
    one = {
        "assignmentId": 7,
        "annotations": {"image_1": [item, {**item, "id": "b"}]},
        "annotationsData": {
            "image_1": [{"id": "a", "coordinate": corners}, {"id": "b", "coordinate": corners}]
        },
    }
    changed = to_v2(one)
    changed["images"][0]["polygon"][0]["classification"] = "truck"
    back = to_v1(changed, one)

    assert back["assignmentId"] == 7
    assert back["annotations"]["image_1"][0] == {**item, "classification": {"class": "truck"}}
    assert back["annotations"]["image_1"][1] == {**item, "id": "b"}
    assert back["annotationsData"]["image_1"][1] == {"id": "b", "coordinate": corners}


def test_version_2_alone_becomes_version_1_with_an_editors_defaults():
    turned = box("a", "car", 1, 2, 3, 4) | {
        "attrs": [{"name": "rotation", "value": 0.5}, {"name": "color", "value": "red"}]
    }
    result = convert_v2_to_v1(two(bounding_box=[turned]))

    assert result["annotations"] == {
        "image_1": [
            {
                "id": "a",
                "tool": "bounding_box",
                "isLocked": False,
                "isVisible": True,
                "isValid": False,
                "isDrawCompleted": True,
                "label": [],
                "classification": {"class": "car", "color": "red"},
            }
        ]
    }
    row = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0.5}
    assert result["annotationsData"] == {"image_1": [{"id": "a", "coordinate": row}]}


def test_points_of_a_group_know_it_in_version_2():
    point = {"tool": "keypoint", "classification": {"class": "nose", "visibility": "occluded"}}
    one = {
        "annotations": {"image": [{"id": "a", **point}]},
        "annotationsData": {"image": [{"id": "a", "coordinate": {"x": 3, "y": 4}}]},
        "annotationGroups": {"image": [{"id": "g", "annotationIds": ["a"]}]},
    }

    assert to_v2(one)["images"] == [
        {
            "keypoint": [
                {
                    "id": "a",
                    "classification": "nose",
                    "attrs": [],
                    "data": [3, 4],
                    "visibility": 1,
                    "group_id": "g",
                }
            ]
        }
    ]


def test_a_missing_row_is_no_box_at_zero():
    one = {"annotations": {"image": [{"id": "a", "tool": "boundingBox", "classification": {"class": "car"}}]}}

    assert to_v2(one)["images"][0]["bounding_box"][0]["data"] is None


@pytest.mark.parametrize(
    "broken",
    [
        {"annotations": []},
        {"annotations": {"image_1": {}}},
        {"annotations": {"image_1": ["x"]}, "annotationsData": {}},
        {"annotations": {}, "annotationsData": 3},
    ],
)
def test_a_document_that_is_none_is_refused(broken: dict[str, Any]):
    with pytest.raises(InvalidDataset):
        convert_v1_to_v2(broken)
