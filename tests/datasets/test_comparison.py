"""compare(): what counts as equal, what does not, and how the difference is told."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png, write_files
from hypothesis import given
from hypothesis import strategies as st

from synapse_core.datasets import Comparison, compare, convert
from synapse_core.datasets.likeness import Likeness, distance, likeness, match
from synapse_core.datasets.model import Annotation, Mask, Polygon
from synapse_core.errors import InvalidRequest

CATEGORIES = [
    {"id": 1, "name": "cat"},
    {"id": 7, "name": "dog"},
    {"id": 9, "name": "man", "keypoints": ["nose", "ear"], "skeleton": [[1, 2]]},
]


def coco(root: Path, boxes: dict[str, list[Any]], *, name: str = "a.json", **changes: Any) -> Path:
    """Write a dataset of images of 100 x 80 pixels.

    boxes: file name -> annotations, or [x, y, w, h] of cats.
    """
    images = [
        {"id": number, "file_name": key, "width": 100, "height": 80} for number, key in enumerate(boxes)
    ]
    rows = [
        {"image_id": number, "category_id": 1, **(one if isinstance(one, dict) else {"bbox": one})}
        for number, found in enumerate(boxes.values())
        for one in found
    ]
    content = {
        "images": images,
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, 1)],
        "categories": CATEGORIES,
        **changes,
    }
    files: dict[str, str | bytes] = {key: png(100, 80) for key in boxes}
    return write_files(root, {**files, name: json.dumps(content)})


def compared(tmp_path: Path, a: dict[str, list[Any]], b: dict[str, list[Any]], **more: Any) -> Comparison:
    return compare(coco(tmp_path / "a", a), coco(tmp_path / "b", b), **more)


def test_a_dataset_equals_itself_in_any_order(tmp_path: Path):
    boxes = [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8]]

    result = compared(tmp_path, {"x.png": boxes, "y.png": []}, {"y.png": [], "x.png": boxes[::-1]})

    assert result.is_equal
    assert (result.images, result.matched, result.missing, result.extra) == (2, 3, 0, 0)
    assert result.largest_difference_pixels == 0


def test_a_third_equal_box_is_extra(tmp_path: Path):
    result = compared(tmp_path, {"x.png": [[1, 2, 3, 4]] * 2}, {"x.png": [[1, 2, 3, 4]] * 3})

    assert not result.is_equal
    assert (result.matched, result.missing, result.extra) == (2, 0, 1)
    assert result.extra_examples[0].numbers == [1, 2, 3, 4]
    assert result.extra_examples[0].class_name == "cat"


def test_the_tolerance_counts_and_the_nearest_is_told(tmp_path: Path):
    a, b = {"x.png": [[10, 20, 30, 40]]}, {"x.png": [[10, 20.25, 30, 40]]}

    assert compared(tmp_path / "wide", a, b, tolerance=0.25).largest_difference_pixels == 0.25
    result = compared(tmp_path / "strict", a, b)
    assert (result.matched, result.missing, result.extra) == (0, 1, 1)
    assert result.missing_examples[0].nearest_pixels == 0.25
    assert result.missing_examples[0].item == "x.png"


def test_another_class_is_no_match_and_another_id_of_it_is(tmp_path: Path):
    dog = {"bbox": [1, 2, 3, 4], "category_id": 7}
    renumbered = [{"id": 0, "name": "dog"}]

    assert not compared(tmp_path / "1", {"x.png": [[1, 2, 3, 4]]}, {"x.png": [dog]}).is_equal
    a = coco(tmp_path / "a", {"x.png": [dog]})
    b = coco(tmp_path / "b", {"x.png": [{**dog, "category_id": 0}]}, categories=renumbered)
    result = compare(a, b)
    assert result.is_equal
    assert (result.classes_only_in_a, result.classes_only_in_b) == (["cat", "man"], [])


def test_images_that_only_one_has(tmp_path: Path):
    result = compared(tmp_path, {"x.png": [], "y.png": [[1, 2, 3, 4]]}, {"x.png": [], "z.png": []})

    assert not result.is_equal
    assert (result.images, result.only_in_a, result.only_in_b) == (1, ["y.png"], ["z.png"])
    assert (result.missing, result.extra) == (1, 0)


def test_folders_and_extensions_may_differ_where_that_is_clear(tmp_path: Path):
    a = {"p/x.png": [[1, 2, 3, 4]], "y.png": [[5, 6, 7, 8]]}
    b = {"x.png": [[1, 2, 3, 4]], "q/y.jpg": [[5, 6, 7, 8]]}

    assert compared(tmp_path, a, b).is_equal


def test_an_exact_name_goes_before_a_similar_one(tmp_path: Path):
    a = {"p/x.png": [[1, 2, 3, 4]], "x.png": [[5, 6, 7, 8]]}
    b = {"x.png": [[5, 6, 7, 8]], "r/x.png": [[1, 2, 3, 4]]}

    assert compared(tmp_path, a, b).is_equal


def test_what_a_conversion_renamed_is_found_again(tmp_path: Path):
    boxes = {"p/1.png": [[1, 2, 30, 40]], "q/1.png": [[5, 6, 7, 8]], "x.png": [], "x.jpg": [[9, 9, 9, 9]]}
    source = coco(tmp_path / "in", boxes)
    result = convert(source, "voc", tmp_path / "out")

    assert result.renamed >= 1
    found = compare(source, tmp_path / "out")
    assert found.is_equal, found
    assert (found.images, found.matched) == (4, 3)


def test_a_conversion_to_yolo_stays_within_its_digits(tmp_path: Path):
    source = coco(tmp_path / "in", {"x.png": [[1 / 3, 2 / 7, 30.123456, 40.7]] * 3, "y.png": []})
    convert(source, "yolo", tmp_path / "out")

    result = compare(source, tmp_path / "out")

    assert result.is_equal, result
    assert 0 < result.largest_difference_pixels < 0.001


def test_another_size_or_split_is_no_equal(tmp_path: Path):
    images = [{"id": 0, "file_name": "x.png", "width": 101, "height": 80}]
    a, b = coco(tmp_path / "a", {"x.png": []}), coco(tmp_path / "b", {"x.png": []}, images=images)
    train = coco(tmp_path / "c", {"x.png": []}, name="instances_train.json")
    val = coco(tmp_path / "d", {"x.png": []}, name="instances_val.json")

    assert (compare(a, b).sizes_differ, compare(a, b).is_equal) == (1, False)
    assert (compare(train, val).splits_differ, compare(train, val).is_equal) == (1, False)
    assert compare(train, a).is_equal  # a tells no split


def test_a_tolerance_that_makes_no_sense_is_refused(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="tolerance"):
        compare(tmp_path, tmp_path, -1)
    with pytest.raises(InvalidRequest, match="tolerance"):
        compare(tmp_path, tmp_path, math.nan)


def test_a_thousand_boxes_in_one_image_take_no_time(tmp_path: Path):
    boxes = [[n % 40, n // 40, 10 + n % 7, 10] for n in range(1_000)]
    moved = [[x + 0.0005, y - 0.0005, w, h] for x, y, w, h in reversed(boxes)]

    began = time.process_time()
    result = compared(tmp_path, {"x.png": boxes}, {"x.png": moved})

    assert result.is_equal
    assert result.largest_difference_pixels == pytest.approx(0.0005)
    assert time.process_time() - began < 3


def box(*numbers: float) -> Likeness:
    return likeness(Annotation(0, (numbers[0], numbers[1], numbers[2], numbers[3])), "cat")


def test_a_box_that_fits_two_is_given_away_for_the_other_ones_sake():
    # The first of a fits both of b, the second only the nearer one.
    a = [box(1.0, 0, 5, 5), box(0.2, 0, 5, 5)]
    b = [box(0.9, 0, 5, 5), box(1.8, 0, 5, 5)]

    assert match(a, b, 0.8).count == 2


def test_chains_of_near_boxes_are_all_matched():
    a = [box(n, 0, 5, 5) for n in range(60)]
    b = [box(n + 0.9, 0, 5, 5) for n in range(60)]

    assert match(a, b, 0.95).count == 60


@given(
    st.lists(
        st.tuples(*[st.integers(0, 3)] * 2, st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=30
    ),
    st.randoms(use_true_random=False),
)
def test_a_shuffled_and_shaken_copy_is_matched_completely(boxes: list[tuple[int, ...]], random: Any):
    a = [box(*numbers) for numbers in boxes]
    b = [box(*(number + random.uniform(-0.9, 0.9) for number in numbers)) for numbers in boxes]
    random.shuffle(b)

    assert match(a, b, 0.9).count == len(boxes)
    found = match(a, b, 0.3)
    assert len(found.unmatched_a) == len(found.unmatched_b) == len(boxes) - found.count
    assert found.largest <= 0.3


def test_a_ring_may_begin_anywhere_and_go_either_way():
    ring = [0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 3.0, 9.0]
    turned = [10.0, 5.0, 3.0, 9.0, 0.0, 0.0, 10.0, 0.0]
    back = [3.0, 9.0, 10.0, 5.0, 10.0, 0.0, 0.0, 0.0]
    one, *others = (likeness(Annotation(0, shape=Polygon([it])), "cat") for it in (ring, turned, back))

    assert [distance(one, other) for other in others] == [0, 0]


def test_a_turned_box_may_be_stated_by_either_side():
    one = likeness(Annotation(0, (10.0, 10.0, 20.0, 6.0), angle=0.3), "cat")
    other = likeness(Annotation(0, (17.0, 3.0, 6.0, 20.0), angle=0.3 + math.pi / 2), "cat")

    assert distance(one, other) == pytest.approx(0, abs=1e-9)


def test_masks_are_the_same_by_their_pixels():
    forms = [
        Mask(4, 3, "counts", [1, 2, 9]),
        Mask(4, 3, "counts", [1, 1, 0, 1, 9, 0]),
        Mask(4, 3, "row_indices", [3, 6]),
        Mask(4, 3, "row_runs", [[3, 1], [6, 1]]),
    ]

    assert len({likeness(Annotation(0, shape=mask), "cat") for mask in forms}) == 1


def test_points_that_are_not_labelled_have_no_place():
    one = likeness(Annotation(0, points=[5.0, 6.0, 2.0, 0.0, 0.0, 0.0]), "man")
    other = likeness(Annotation(0, points=[5.0, 6.0, 2.0, 50.0, 0.0, 0.0]), "man")
    hidden = likeness(Annotation(0, points=[5.0, 6.0, 1.0, 0.0, 0.0, 0.0]), "man")
    boxed = likeness(Annotation(0, (0.0, 0.0, 9.0, 9.0), points=[5.0, 6.0, 2.0, 0.0, 0.0, 0.0]), "man")

    assert distance(one, other) == 0
    assert distance(one, hidden) is None
    assert distance(one, boxed) == 0
