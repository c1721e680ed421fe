"""What the DM tests share: folders of documents with images, and documents of any content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

WIDTH, HEIGHT = 40, 30


def make_dm(root: Path, documents: Mapping[str, Any], *, images: bool = True) -> Path:
    """Write a DM dataset: name below the root, without json/ and extension, -> document."""
    for name, document in documents.items():
        split, _, stem = name.rpartition("/")
        for folder in ("json", "original_files"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        (root / split / "json" / f"{stem}.json").write_text(json.dumps(document))
        if images:
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / split / "original_files" / f"{stem}.png")
    return root


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def box(box_id: str, name: str, *data: float, **more: Any) -> dict[str, Any]:
    """Return a box of version 2."""
    return {"id": box_id, "classification": name, "attrs": [], "data": list(data), **more}


def two(**tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a document of version 2 with one image."""
    return {"classification": {}, "images": [tools]}


# Documents of version 1: all tools, all media, both shapes of groups, and what editors add to them.

names = st.sampled_from(["car", "tree", "nose", "left_eye", "ünï", ""])
numbers = st.integers(-5, 60) | st.floats(-5, 60, allow_nan=False)
points = st.lists(
    st.fixed_dictionaries({"x": numbers, "y": numbers}, optional={"id": st.text("abc", max_size=3)})
)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab_", max_size=4)
anything = (
    scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text("xyz", max_size=2), scalars, max_size=2)
)
vectors = st.fixed_dictionaries(dict.fromkeys("xyz", numbers))
pixels = st.integers(0, WIDTH * HEIGHT - 20)

_coordinates = st.fixed_dictionaries(
    {"x": numbers, "y": numbers, "width": numbers, "height": numbers}, optional={"rotation": numbers}
)
_masks = st.one_of(
    st.fixed_dictionaries(
        {
            "pixel_indices": st.lists(pixels, max_size=4),
            "isCompressed": st.just(False),
            "compressionFormat": st.none(),
        }
    ),
    st.fixed_dictionaries(
        {
            "pixel_indices": st.lists(st.tuples(pixels, st.integers(1, 9)).map(list), max_size=4),
            "isCompressed": st.just(True),
            "compressionFormat": st.just("rle"),
        }
    ),
    st.fixed_dictionaries({"section": st.fixed_dictionaries({"startFrame": pixels, "endFrame": pixels})}),
)
ROWS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "bounding_box": st.fixed_dictionaries({"coordinate": _coordinates}),
    "polygon": st.fixed_dictionaries({"coordinate": points}),
    "polyline": st.fixed_dictionaries({"coordinate": points}),
    "keypoint": st.fixed_dictionaries({"coordinate": st.fixed_dictionaries({"x": numbers, "y": numbers})}),
    "segmentation": _masks,
    "classification": st.just({}),
    "relation": st.fixed_dictionaries({"annotationId": names, "targetAnnotationId": names}),
    "named_entity": st.fixed_dictionaries(
        {"ranges": st.lists(anything, max_size=2), "content": st.text("ab")}
    ),
    "prompt": st.fixed_dictionaries({"input": st.lists(anything, max_size=2), "model": st.text("ab")}),
    "answer": st.fixed_dictionaries({"output": st.lists(anything, max_size=2), "promptAnnotationId": names}),
    "3d_bounding_box": st.fixed_dictionaries(
        {"psr": st.fixed_dictionaries({"position": vectors, "scale": vectors, "rotation": vectors})}
    ),
    "3d_segmentation": st.fixed_dictionaries({"points": st.lists(pixels, max_size=4)}),
    "time_range": st.fixed_dictionaries(
        {"section": st.fixed_dictionaries({"start": numbers, "end": numbers})},
        optional={"excludedTracks": st.lists(names, max_size=2)},
    ),
    "brand_new_tool": st.dictionaries(st.text("pq", min_size=1, max_size=3), anything, max_size=3),
    "boundingBox": st.fixed_dictionaries({"coordinate": _coordinates}),
}
_editor = {
    "isLocked": st.booleans(),
    "isVisible": st.booleans(),
    "isValid": st.booleans(),
    "isDrawCompleted": st.booleans(),
    "label": st.lists(names, max_size=2),
    "shapeType": anything,
}
_classifications = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "class": names,
        "color": anything,
        "rotation": anything,
        "visibility": st.sampled_from([0, 1, 2, "missing", "occluded", "visible", "perhaps"]),
    },
)


_frames = st.just({}) | st.just({"frameIndex": 3})


@st.composite
def _media(draw: Callable[..., Any], kind: str) -> dict[str, Any]:
    """Return what each map of a document has of one medium."""
    annotations: list[Any] = []
    rows: list[Any] = []
    ids: list[str] = []
    for number in range(draw(st.integers(0, 6))):
        own_id = draw(st.sampled_from([f"id{number}", f"id{number}", f"id{number}", "same"]))
        tool = draw(st.sampled_from(list(ROWS)))
        item = {"id": own_id, "tool": tool, "classification": draw(_classifications)}
        annotations.append(item | draw(st.fixed_dictionaries({}, optional=_editor)))
        ids.append(own_id)
        count = draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
        rows += [{"id": own_id, **draw(ROWS[tool]), **draw(_frames)} for _ in range(count)]
    members = st.lists(st.sampled_from([*ids, "gone"]), max_size=3)
    nested = st.builds(
        lambda one, more: {"annotationId": one, "children": more},
        st.sampled_from([*ids, "gone"]),
        st.just([]),
    )
    group = st.one_of(
        st.builds(lambda found: {"id": "g1", "annotationIds": found}, members),
        st.builds(
            lambda found: {"id": "g2", "tool": "annotationGroup", "annotationList": found},
            st.lists(nested, max_size=2),
        ),
    )
    relation = st.builds(
        lambda one, other: {"id": "r", "tool": "relation", "annotationId": one, "targetAnnotationId": other},
        *(st.sampled_from([*ids, "gone"]),) * 2,
    )
    found = {
        "annotations": annotations,
        "annotationsData": draw(st.permutations(rows)),
        "annotationGroups": draw(st.none() | st.lists(group, max_size=2)),
        "relations": draw(st.none() | st.lists(relation, max_size=2)),
        "extra": draw(st.none() | st.just({"width": WIDTH, "height": HEIGHT}) | st.just({})),
    }
    return {name: value for name, value in found.items() if value is not None}


@st.composite
def documents(draw: Callable[..., Any]) -> dict[str, Any]:
    """Return a document of version 1."""
    document: dict[str, Any] = {"annotations": {}, "annotationsData": {}}
    kinds = [
        "image_1",
        "image_2",
        "image_10",
        "image",
        "video_1",
        "pcd_1",
        "text_1",
        "audio_2",
        "prompt_1",
        "data_1",
    ]
    for media_id in draw(st.lists(st.sampled_from(kinds), unique=True, max_size=3)):
        for name, value in draw(_media(media_id.partition("_")[0])).items():
            document.setdefault(name, {})[media_id] = value
    if draw(st.booleans()):
        document["assignmentId"] = draw(st.integers(1, 9))
    if draw(st.booleans()):
        document["anything"] = draw(anything)
    return document
