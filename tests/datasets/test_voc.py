"""Pascal VOC: what is read of the many forms that it has, and that it comes back as it was."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from dataset_worlds import png, read_all, shapes_of, write_files

from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats.voc import detect
from synapse_core.datasets.formats.voc_text import Texts
from synapse_core.datasets.glance import glance
from synapse_core.datasets.model import Polygon
from synapse_core.datasets.source import open_source
from synapse_core.datasets.xml_text import InvalidXml, parse_xml
from synapse_core.errors import InvalidDataset

SIZE = "<size><width>100</width><height>80</height><depth>3</depth></size>"


def box(xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    return f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"


def thing(name: str, corners: str, more: str = "") -> str:
    return f"<object><name>{name}</name>{corners}{more}</object>"


def document(*objects: str, file_name: str = "a.png", size: str = SIZE) -> str:
    return f"<annotation><filename>{file_name}</filename>{size}{''.join(objects)}</annotation>"


def test_the_kit_s_folders_give_classes_splits_and_boxes(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "Annotations/a.xml": document(thing("dog", box(10, 20, 30, 60))),
            "Annotations/b.xml": document(thing("cat", box(1, 2, 3, 4)), file_name="b.png"),
            "Annotations/c.xml": document(file_name="c.png"),
            "JPEGImages/a.png": png(),
            "JPEGImages/b.png": png(),
            "JPEGImages/c.png": png(),
            "ImageSets/Main/train.txt": "a\n",
            "ImageSets/Main/trainval.txt": "a\nb\nc\n",
            "ImageSets/Main/val.txt": "b\n",
            "ImageSets/Main/dog_train.txt": "a  1\n",
        },
    )

    header, items, losses = read_all(tmp_path, "voc")

    assert [entry.name for entry in header.classes] == ["cat", "dog"]
    assert {key: item.split for key, item in items.items()} == {
        "a.png": "train",
        "b.png": "val",
        "c.png": "trainval",
    }
    assert items["a.png"].annotations[0].box == (10, 20, 20, 40)
    assert items["a.png"].image == "JPEGImages/a.png"
    assert items["c.png"].annotations == []
    assert not losses.codes


def test_one_folder_a_split_with_xml_beside_the_images(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "train/a.xml": document(thing("dog", box(1, 2, 3, 4))),
            "train/a.png": png(),
            "valid/b.xml": document(thing("dog", box(1, 2, 3, 4))),
            "valid/b.png": png(),
            "valid/nothing.png": png(),
        },
    )

    header, items, _ = read_all(tmp_path, "voc")

    assert header.splits == ("train", "val")
    assert {key: item.split for key, item in items.items()} == {
        "a.png": "train",
        "b.png": "val",
        "nothing.png": "val",
    }
    assert items["nothing.png"].annotations == []


def test_parts_do_not_disturb_and_come_back(tmp_path: Path):
    part = f"<part><name>head</name>{box(5, 6, 7, 8)}</part>"
    actions = "<actions><jumping>1</jumping><walking>0</walking></actions>"
    # The part stands before the object's own box.
    person = f"<object><name>person</name>{part}{box(1, 2, 30, 40)}{actions}</object>"
    write_files(tmp_path / "in", {"Annotations/a.xml": document(person), "JPEGImages/a.png": png()})

    header, items, _ = read_all(tmp_path / "in", "voc")
    convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")
    _, again, _ = read_all(tmp_path / "out", "voc")

    assert [entry.name for entry in header.classes] == ["person"]
    [one] = items["a.png"].annotations
    assert one.box == (1, 2, 29, 38)
    assert one.attributes == {
        "part": [{"name": "head", "bndbox": {"xmin": 5, "ymin": 6, "xmax": 7, "ymax": 8}}],
        "actions": {"jumping": 1, "walking": 0},
    }
    assert again["a.png"].annotations == [one]


def test_flags_pose_and_attributes_come_back_and_defaults_say_nothing(tmp_path: Path):
    flags = "<pose>Left</pose><truncated>1</truncated><difficult>1</difficult><occluded>1</occluded>"
    attributes = (
        "<attributes><attribute><name>colour</name><value>a &amp; b</value></attribute>"
        "<attribute><name>age</name><value>3</value></attribute>"
        "<attribute><name>code</name><value>007</value></attribute>"
        "<attribute><name>sold</name><value>true</value></attribute></attributes>"
    )
    plain = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
    write_files(
        tmp_path / "in",
        {
            "a.xml": document(
                thing("dog", box(1, 2, 3, 4), flags + attributes), thing("dog", box(5, 6, 7, 8), plain)
            ),
            "a.png": png(),
        },
    )

    _, items, _ = read_all(tmp_path / "in", "voc")
    convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")
    _, again, _ = read_all(tmp_path / "out", "voc")

    first, second = items["a.png"].annotations
    assert first.attributes == {
        "pose": "Left",
        "truncated": True,
        "difficult": True,
        "occluded": True,
        "colour": "a & b",
        "age": 3,
        "code": "007",
        "sold": True,
    }
    assert second.attributes is None
    assert again["a.png"].annotations == [first, second]


def test_a_full_frame_box_in_both_readings(tmp_path: Path):
    write_files(tmp_path / "in", {"a.xml": document(thing("dog", box(1, 1, 100, 80))), "a.png": png()})

    literal = shapes_of(tmp_path / "in", "voc")
    devkit = shapes_of(tmp_path / "in", "voc", voc_coordinates="devkit")
    convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc", voc_coordinates="devkit")

    assert literal == {"a.png": [("dog", (1, 1, 99, 79))]}
    assert devkit == {"a.png": [("dog", (0, 0, 100, 80))]}
    assert "<xmin>1</xmin>" in (tmp_path / "out/Annotations/a.xml").read_text()
    assert shapes_of(tmp_path / "out", "voc", voc_coordinates="devkit") == devkit


def test_floats_are_kept_and_reversed_corners_told(tmp_path: Path):
    write_files(
        tmp_path,
        {
            "a.xml": document(thing("dog", box(1.25, 2.5, 30.125, 40)), thing("dog", box(30, 40, 10, 20))),
            "a.png": png(),
        },
    )

    _, items, losses = read_all(tmp_path, "voc")

    assert [one.box for one in items["a.png"].annotations] == [(1.25, 2.5, 28.875, 37.5), (10, 20, 20, 20)]
    assert losses.codes == {"CORNERS_SWAPPED": 1}


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height><depth/></size>"])
def test_a_missing_size_is_read_from_the_image(tmp_path: Path, size: str):
    write_files(tmp_path, {"a.xml": document(thing("dog", box(1, 2, 3, 4)), size=size), "a.png": png(64, 48)})

    _, items, _ = read_all(tmp_path, "voc")

    assert (items["a.png"].width, items["a.png"].height) == (64, 48)


@pytest.mark.parametrize("file_name", ["", "old_name.jpg", "a", "/home/me/pictures/a.jpg"])
def test_the_image_is_found_by_the_name_of_the_xml_file(tmp_path: Path, file_name: str):
    write_files(tmp_path, {"Annotations/a.xml": document(file_name=file_name), "JPEGImages/a.png": png()})

    _, items, _ = read_all(tmp_path, "voc")

    assert {key: item.image for key, item in items.items()} == {"a.png": "JPEGImages/a.png"}


def test_the_stated_name_counts_where_no_image_has_the_name_of_the_xml_file(tmp_path: Path):
    write_files(
        tmp_path, {"Annotations/1.xml": document(file_name="photo.png"), "JPEGImages/photo.png": png()}
    )

    _, items, _ = read_all(tmp_path, "voc")

    assert {key: item.image for key, item in items.items()} == {"photo.png": "JPEGImages/photo.png"}


def test_an_object_without_a_box_fails_alone(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "a.xml": document(
                thing("dog", ""), thing("dog", box("x", 2, 3, 4)), thing("dog", box(1, 2, 30, 40))
            ),
            "a.png": png(),
        },
    )

    result = convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")

    counts = result.losses.kinds["box"]
    assert (counts.seen, counts.written, counts.failed) == (3, 1, 2)
    first, second = result.losses.examples["BAD_ROW"]
    assert first.where == "a.xml: object 1"
    assert first.message == "the object has no <bndbox>"
    assert second.message == "<xmin> is 'x', which is not a number"


BOMB = '<!DOCTYPE a [<!ENTITY b "boom">]>' + document(thing("&b;", box(1, 2, 3, 4)))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (BOMB.encode(), "document type"),
        (BOMB.encode("utf-16"), "document type"),
        (b"<annotation><object>", "not XML"),
        (b"", "not XML"),
        (document(thing("d\xe9j\xe0", box(1, 2, 3, 4))).encode("latin-1"), "not XML"),
        (b'<?xml version="1.0" encoding="cp037"?>' + document().encode("cp037"), "encoding"),
        (b"<annotations/>", "root is <annotations>"),
    ],
)
def test_one_bad_file_never_loses_the_set(tmp_path: Path, bad: bytes, why: str):
    write_files(
        tmp_path / "in",
        {
            "Annotations/a.xml": document(thing("dog", box(1, 2, 3, 4))),
            "Annotations/bad.xml": bad,
            "JPEGImages/a.png": png(),
            "JPEGImages/bad.png": png(),
        },
    )

    result = convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")

    [entry] = result.losses.examples["BAD_FILE"]
    assert entry.where == "Annotations/bad.xml"
    assert why in entry.message
    # An image of which nobody knows what is in it is no image without objects.
    assert sorted(path.name for path in (tmp_path / "out/Annotations").iterdir()) == ["a.xml"]


def test_latin_1_is_read_where_it_is_declared(tmp_path: Path):
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + document(thing("d\xe9j\xe0", box(1, 2, 3, 4)))
    write_files(tmp_path, {"a.xml": text.encode("latin-1"), "a.png": png()})

    header, _, _ = read_all(tmp_path, "voc")

    assert [entry.name for entry in header.classes] == ["d\xe9j\xe0"]


def test_a_polygon_comes_back_beside_its_box(tmp_path: Path):
    polygon = "<polygon><x1>1</x1><y1>2</y1><x2>30</x2><y2>2.5</y2><x3>30</x3><y3>40</y3></polygon>"
    write_files(
        tmp_path / "in", {"a.xml": document(thing("dog", box(1, 2, 30, 40), polygon)), "a.png": png()}
    )

    header, items, _ = read_all(tmp_path / "in", "voc")
    result = convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")
    _, again, _ = read_all(tmp_path / "out", "voc")

    [one] = items["a.png"].annotations
    assert "polygon" in header.kinds
    assert one.shape == Polygon([[1, 2, 30, 2.5, 30, 40]])
    assert one.box == (1, 2, 29, 38)
    assert again["a.png"].annotations == [one]
    assert result.losses.is_lossless


def test_turned_boxes_become_upright_ones_and_that_is_told(tmp_path: Path):
    rotation = "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes>"
    write_files(
        tmp_path / "in",
        {"a.xml": document(thing("dog", box(10, 20, 30, 30), rotation)), "a.png": png()},
    )

    _, items, _ = read_all(tmp_path / "in", "voc")
    result = convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")

    assert items["a.png"].annotations[0].angle == math.pi / 2
    assert result.losses.reasons == {"ROTATION_DROPPED": 1}
    assert shapes_of(tmp_path / "out", "voc") == {"a.png": [("dog", (15, 15, 10, 20))]}


def test_names_and_their_order_survive_whatever_is_in_them(tmp_path: Path):
    names = ["z", "a & <b>", "mit : Doppelpunkt", '"quoted"', "\u00e9\u4e16"]
    escaped = [name.replace("&", "&amp;").replace("<", "&lt;") for name in names]
    objects = [thing(name, box(1, 2, 3 + at, 4)) for at, name in enumerate(escaped)]
    label_map = "".join(f"{name}:0,0,0::\n" for name in ["background", *names, "unused"])
    write_files(tmp_path / "in", {"labelmap.txt": label_map, "a.xml": document(*objects), "a.png": png()})

    convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")
    header, items, _ = read_all(tmp_path / "out", "voc")

    assert [entry.name for entry in header.classes] == [*names, "unused"]
    assert [one.label for one in items["a.png"].annotations] == [0, 1, 2, 3, 4]


def test_what_the_image_s_header_says_comes_back(tmp_path: Path):
    source = "<source><database>Mine</database><image>flickr</image></source>"
    text = (
        f"<annotation><folder>x</folder><filename>a.png</filename>{source}"
        "<size><width>9</width><height>8</height><depth>1</depth></size><segmented>1</segmented></annotation>"
    )
    write_files(tmp_path / "in", {"Annotations/a.xml": text, "JPEGImages/a.png": png(9, 8)})

    convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")

    written = (tmp_path / "out/Annotations/a.xml").read_text()
    assert source in written
    assert "<depth>1</depth>" in written
    assert "<segmented>1</segmented>" in written


def test_the_same_name_in_two_splits_does_not_fall_on_one_file(tmp_path: Path):
    write_files(
        tmp_path / "in",
        {
            "train/a.xml": document(thing("dog", box(1, 2, 3, 4))),
            "train/a.png": png(),
            "test/a.xml": document(thing("dog", box(5, 6, 7, 8))),
            "test/a.png": png(),
        },
    )

    result = convert(tmp_path / "in", "voc", tmp_path / "out", source_format="voc")
    _, items, _ = read_all(tmp_path / "out", "voc")

    assert result.renamed == 1
    assert sorted((item.split, item.annotations[0].box) for item in items.values()) == [
        ("test", (5, 6, 2, 2)),
        ("train", (1, 2, 2, 2)),
    ]


HEADS = [
    "",
    '<?xml version="1.0"?>\n',
    '<?xml version="1.0" encoding="UTF-8"?>',
]
IMAGES = [
    SIZE,
    "<folder/>" + SIZE,
    f"<folder>f</folder>\n<filename>a.png</filename><path>/x</path>{SIZE}<segmented>0</segmented>",
    "<source><database>D</database></source><size><width>1</width>\n<height>2</height><depth></depth></size>",
    "<source>\n<database>Unknown</database>\n</source><owner><flickrid>?</flickrid><name>n</name></owner>"
    + SIZE,
    "<size><height>2</height><width>1</width></size><segmented>1</segmented>",
    "<!-- a comment -->" + SIZE,
]
OBJECTS = [
    "",
    thing("dog", box(1, 2, 3, 4)),
    thing("dog", box(1, 2, 3, 4)) + "\n" + thing("cat", box(0.5, 2, 30.25, 4)),
    thing("dog", box(30, 2, 3, 4)),
    thing(" dog ", box(" 1 ", 2, 3, 4), "<difficult>1</difficult>"),
    thing("dog", "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>" + box(1, 2, 3, 4)),
    thing("dog", "<occluded>1</occluded><pose>Unspecified</pose>" + box(-1, 2, 3, 4), "<pose>Left</pose>"),
    thing("dog", "<bndbox><xmin>1</xmin><xmax>3</xmax><ymin>2</ymin><ymax>4</ymax></bndbox>"),
    thing("a &amp; b", box(1, 2, 3, 4)),
    thing("dog", box(1, 2, 3, 4), f"<part><name>head</name>{box(1, 2, 3, 4)}</part>")
    + thing("cat", box(1, 2, 3, 4)),
    thing("dog", box("1e1", 2, 30, 40)),
    thing("dog", ""),
    "<object><name>cat</name></object>" + thing("dog", box(1, 2, 3, 4)),
    "<object><name>cat</name><!-- <x> -->" + box(1, 2, 3, 4) + "</object>",
    "<object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>",
]


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("objects", OBJECTS)
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("head", HEADS)
def test_the_pattern_and_the_parser_read_the_same(head: str, image: str, objects: str, offset: int):
    data = f"{head}<annotation>{image}{objects}</annotation>".encode()
    texts = Texts({"dog": 0, "cat": 1, "a & b": 2}, offset)

    known = texts.read_known(data)

    assert known is None or known == texts.read_any(data)


@pytest.mark.parametrize(
    "broken", ["<pose>Left</truncated>", "<pose>Left", "text", "<!DOCTYPE a>", "</object>", "&x;"]
)
def test_the_pattern_takes_nothing_that_the_parser_refuses(broken: str):
    objects = thing("dog", broken + box(1, 2, 3, 4))

    assert Texts({"dog": 0}, 0).read_known(document(objects).encode()) is None
    assert Texts({"dog": 0}, 0).read_known((document() + broken).encode()) is None


def test_usual_files_are_read_by_the_pattern():
    texts = Texts({"dog": 0}, 0)
    labelimg = thing(
        "dog", "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>" + box(1, 2, 3, 4)
    )

    assert texts.read_known(document(labelimg, labelimg).encode()) is not None
    assert (
        texts.read_known(document(thing("dog", "<occluded>0</occluded>" + box(1, 2, 3, 4))).encode())
        is not None
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_xml_is_read_in_its_encoding(encoding: str):
    assert parse_xml("<a>\u00e9</a>".encode(encoding)).text == "\u00e9"


def test_utf_7_hides_nothing():
    with pytest.raises(InvalidXml, match="encoding"):
        parse_xml(b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a>')


def test_a_folder_of_xml_is_recognised_and_other_xml_is_not(tmp_path: Path):
    write_files(tmp_path / "voc", {"Annotations/a.xml": document()})
    write_files(tmp_path / "cvat", {"a.xml": "<annotations><image/></annotations>"})

    evidence = detect(glance(open_source(tmp_path / "voc")))

    assert evidence is not None
    assert evidence.score > 0.9
    assert evidence.reasons == ("Annotations/a.xml is an <annotation> of an image",)
    assert detect(glance(open_source(tmp_path / "cvat"))) is None


def test_a_folder_without_xml_says_so(tmp_path: Path):
    write_files(tmp_path, {"a.png": png()})

    with pytest.raises(InvalidDataset, match="no XML files"):
        read_all(tmp_path, "voc")
