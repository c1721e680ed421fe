"""CVAT's XML: every shape, the tracks of a video, and the way back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from dataset_worlds import png, read_all, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.cvat import detect
from synapse_core.datasets.glance import glance
from synapse_core.datasets.model import Annotation, Item, Mask, Opaque, Polygon, Polyline
from synapse_core.datasets.source import open_source
from synapse_core.errors import InvalidDataset

LABELS = """<meta><task><labels>
<label><name>dog</name><color>#ff0000</color><attributes><attribute><name>age</name><input_type>number</input_type>
</attribute></attributes></label>
<label><name>body</name><type>skeleton</type><svg>
&lt;line x1="1" data-node-from="2" data-node-to="1"&gt;&lt;/line&gt;
&lt;circle data-element-id="1" data-node-id="1" data-label-name="head"&gt;&lt;/circle&gt;
&lt;circle data-element-id="2" data-node-id="2" data-label-name="tail"&gt;&lt;/circle&gt;</svg></label>
<label><name>head</name><parent>body</parent></label><label><name>tail</name><parent>body</parent></label>
</labels></task></meta>"""


def document(*shapes: str) -> str:
    image = f'<image id="3" name="a.png" width="10" height="8">{"".join(shapes)}</image>'
    return f"<annotations><version>1.1</version>{LABELS}{image}</annotations>"


def only_item(root: Path) -> Item:
    _, items, losses = read_all(root, "cvat", images="none")
    assert not losses.codes
    [item] = items.values()
    return item


def test_classes_skeletons_and_images_are_read(tmp_path: Path):
    write_files(tmp_path, {"annotations.xml": document(), "images/a.png": png(10, 8)})

    header, items, losses = read_all(tmp_path, "cvat")

    assert [(entry.name, entry.keypoints, entry.skeleton) for entry in header.classes] == [
        ("dog", (), ()),
        ("body", ("head", "tail"), ((1, 0),)),
    ]
    assert items["a.png"].image == "images/a.png"
    assert (items["a.png"].width, items["a.png"].height, items["a.png"].id) == (10, 8, 3)
    assert not losses.codes


SHAPES = [
    ('<box label="dog" xtl="1" ytl="2" xbr="4" ybr="6"/>', Annotation(0, (1, 2, 3, 4))),
    (
        '<box label="dog" xtl="1" ytl="2" xbr="4" ybr="6" rotation="90"/>',
        Annotation(0, (1, 2, 3, 4), angle=math.pi / 2),
    ),
    (
        '<box label="dog" xtl="1" ytl="2" xbr="4" ybr="6" rotation="270"/>',
        Annotation(0, (1, 2, 3, 4), angle=-math.pi / 2),
    ),
    (
        '<polygon label="dog" points="1,2;3.5,4;5,6" group_id="7"/>',
        Annotation(0, shape=Polygon([[1, 2, 3.5, 4, 5, 6]]), group="7"),
    ),
    ('<polyline label="dog" points="1,2;3,4"/>', Annotation(0, shape=Polyline([1, 2, 3, 4]))),
    ('<points label="dog" points="1,2;3,4"/>', Annotation(0, points=[1, 2, 2, 3, 4, 2])),
    (
        '<skeleton label="body"><points label="tail" points="3,4" occluded="1"/>'
        '<points label="head" points="1,2" outside="1"/></skeleton>',
        Annotation(1, points=[0, 0, 0, 3, 4, 1]),
    ),
    # Rows of the window: .XX / XX. of a 10 pixel wide image, from (2, 1) on.
    (
        '<mask label="dog" left="2" top="1" width="3" height="2" rle="1, 4, 1"/>',
        Annotation(0, shape=Mask(8, 10, "row_runs", [[13, 2], [22, 2]])),
    ),
    ('<tag label="dog"/>', Annotation(0)),
    (
        '<box label="dog" occluded="1" z_order="2" xtl="1" ytl="2" xbr="4" ybr="6">'
        '<attribute name="age">3</attribute><attribute name="code">007</attribute></box>',
        Annotation(0, (1, 2, 3, 4), attributes={"age": 3, "code": "007", "occluded": True, "z_order": 2}),
    ),
    (
        '<ellipse label="dog" cx="5" cy="4" rx="2" ry="1"/>',
        Annotation(0, shape=Opaque("ellipse", {"cx": 5, "cy": 4, "rx": 2, "ry": 1})),
    ),
    (
        '<cuboid label="dog" xtl1="5" ytl1="4.5"/>',
        Annotation(0, shape=Opaque("cuboid", {"xtl1": 5, "ytl1": 4.5})),
    ),
]


@pytest.mark.parametrize(("text", "expected"), SHAPES)
def test_a_shape_is_read_and_comes_back(tmp_path: Path, text: str, expected: Annotation):
    write_files(tmp_path / "in", {"annotations.xml": document(text)})

    result = convert(tmp_path / "in", "cvat", tmp_path / "out", source_format="cvat", images="none")

    assert only_item(tmp_path / "in").annotations == [expected]
    assert result.losses.is_lossless
    assert only_item(tmp_path / "out").annotations == [expected]


def test_the_task_comes_back(tmp_path: Path):
    write_files(tmp_path / "in", {"annotations.xml": document('<tag label="dog" source="auto"/>')})

    convert(tmp_path / "in", "cvat", tmp_path / "out", source_format="cvat", images="none")

    before, _, _ = read_all(tmp_path / "in", "cvat")
    after, _, _ = read_all(tmp_path / "out", "cvat")
    assert after.classes == before.classes
    assert 'source="auto"' in (tmp_path / "out/annotations.xml").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<box label="dog" xtl="1" ytl="2" xbr="4"/>', "it has no 'ybr'"),
        ('<box label="dog" xtl="x" ytl="2" xbr="4" ybr="6"/>', "could not convert string to float: 'x'"),
        ('<polygon label="dog" points="1,2;3"/>', "could not convert string to float: ''"),
        (
            '<mask label="dog" left="8" top="1" width="3" height="2" rle="1, 4, 1"/>',
            "the mask's window 8,1 3 x 2 lies outside the image",
        ),
        (
            '<mask label="dog" left="1" top="1" width="3" height="2" rle="1, 9"/>',
            "the mask has 10 pixels, and its window 6",
        ),
        (
            '<skeleton label="body"><points label="paw" points="3,4"/></skeleton>',
            "the skeleton has no point 'paw'; it has head, tail",
        ),
        ("<hyperbola/>", "there are no shapes <hyperbola>"),
    ],
)
def test_a_broken_shape_fails_alone(tmp_path: Path, text: str, message: str):
    write_files(
        tmp_path / "in", {"a.xml": document(text, '<box label="dog" xtl="1" ytl="2" xbr="4" ybr="6"/>')}
    )

    result = convert(tmp_path / "in", "cvat", tmp_path / "out", source_format="cvat", images="none")

    [entry] = result.losses.examples["BAD_ROW"]
    assert entry.message == message
    assert entry.where == "a.xml: image a.png, shape 1"
    assert result.losses.written == 1


def test_a_video_s_tracks_are_read_as_images_of_its_frames(tmp_path: Path):
    def box(frame: int, left: int, outside: int = 0) -> str:
        return f'<box frame="{frame}" outside="{outside}" xtl="{left}" ytl="2" xbr="{left + 3}" ybr="6"/>'

    track = f'<track id="4" label="dog">{box(0, 1)}{box(1, 2)}{box(4, 5)}{box(5, 6, outside=1)}</track>'
    points = '<points frame="1" points="3,4" outside="0"/>'
    outside = points.replace('outside="0"', 'outside="1"')
    body = (
        '<track id="5" label="body"><skeleton frame="1" outside="0"/>'
        f'<track label="head">{points}</track><track label="tail">{outside}'
        "</track></track>"
    )
    size = "<meta><task><original_size><width>25</width><height>20</height></original_size></task></meta>"
    meta = LABELS.replace("<meta><task>", size.removesuffix("</task></meta>"))
    write_files(
        tmp_path,
        {"a.xml": f"<annotations>{meta}{track}{body}</annotations>", "images/frame_000001.png": png()},
    )

    _, items, losses = read_all(tmp_path, "cvat", images="none")

    assert list(items) == ["frame_000000", "frame_000001.png", "frame_000004"]
    assert [one.box for item in items.values() for one in item.annotations if one.box] == [
        (1, 2, 3, 4),
        (2, 2, 3, 4),
        (5, 2, 3, 4),
    ]
    assert items["frame_000001.png"].annotations[1].points == [3, 4, 2, 0, 0, 0]
    assert items["frame_000000"].annotations[0].group == "track 4"
    assert (items["frame_000000"].width, items["frame_000000"].height) == (25, 20)
    # Frames 2 and 3 lie between key frames; the last one is outside.
    [entry] = losses.entries
    assert (entry.code, entry.after) == ("FRAMES_LEFT_OUT", 2)


def test_subsets_are_splits_and_come_back(tmp_path: Path):
    text = (
        '<annotations><image name="a.png" subset="Train"/><image name="b.png" subset="Validation"/>'
        '<image name="c.png" subset="default"/></annotations>'
    )
    files: dict[str, str | bytes] = {
        "a.xml": text,
        "images/Train/a.png": png(),
        "b.png": png(),
        "images/c.png": png(),
    }
    write_files(tmp_path / "in", files)

    convert(tmp_path / "in", "cvat", tmp_path / "out", source_format="cvat")

    for root in ("in", "out"):
        _, items, losses = read_all(tmp_path / root, "cvat")
        assert {key: (item.split, item.width) for key, item in items.items()} == {
            "a.png": ("train", 100),
            "b.png": ("val", 100),
            "c.png": (None, 100),
        }
        assert not losses.codes


def test_classes_that_no_task_describes_come_from_the_shapes(tmp_path: Path):
    image = '<image name="a.png" width="9" height="9"><tag label="z"/><tag label="b"/><tag label=""/></image>'
    write_files(tmp_path, {"a.xml": f"<annotations>{image}</annotations>"})

    header, items, _ = read_all(tmp_path, "cvat")

    assert [entry.name for entry in header.classes] == ["b", "z"]
    assert [one.label for one in items["a.png"].annotations] == [1, 0, -1]


def test_a_polygon_of_parts_becomes_several_of_one_group(tmp_path: Path):
    coco = """{"images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 8}], "categories":
        [{"id": 1, "name": "dog"}], "annotations": [{"id": 5, "image_id": 1, "category_id": 1,
        "segmentation": [[1, 1, 3, 1, 3, 3], [5, 5, 7, 5, 7, 7]], "bbox": [1, 1, 6, 6],
        "area": 4, "iscrowd": 0}]}"""
    write_files(tmp_path / "in", {"annotations/instances_train.json": coco})

    result = convert(tmp_path / "in", "cvat", tmp_path / "out", source_format="coco", images="none")

    first, second = only_item(tmp_path / "out").annotations
    assert first.group == second.group == "1"
    assert result.losses.kinds["polygon"].split_extra == 1
    assert result.losses.classes[0].after == 2


def test_names_are_escaped(tmp_path: Path):
    name = "a &lt;b&gt; &quot;c&quot; &amp; d"
    image = f'<image name="x &amp; y.png" width="9" height="9"><tag label="{name}"/></image>'
    write_files(tmp_path / "in", {"a.xml": f"<annotations>{image}</annotations>"})

    convert(tmp_path / "in", "cvat", tmp_path / "out", source_format="cvat", images="none")
    header, items, _ = read_all(tmp_path / "out", "cvat", images="none")

    assert [entry.name for entry in header.classes] == ['a <b> "c" & d']
    assert list(items) == ["x & y.png"]


def test_cvat_is_recognised_and_other_xml_is_not(tmp_path: Path):
    cvat = write_files(tmp_path / "cvat", {"a.xml": document()})
    voc = write_files(tmp_path / "voc", {"a.xml": "<annotation><object/></annotation>"})

    assert detect(glance(open_source(cvat))) is not None
    assert detect(glance(open_source(voc))) is None


def test_a_file_with_a_document_type_is_refused(tmp_path: Path):
    write_files(tmp_path, {"a.xml": '<!DOCTYPE a [<!ENTITY b "c">]>' + document()})

    with pytest.raises(InvalidDataset, match="no images"):
        read_all(tmp_path, "cvat")
