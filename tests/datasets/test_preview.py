"""preview(): what is drawn and where, which images are shown, and what keeps the sheet small."""

from __future__ import annotations

import io
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from dataset_worlds import png, write_files
from PIL import Image

from synapse_core.datasets import preview
from synapse_core.datasets.drawing import colours_of, draw_annotations, make_legend, text_colour
from synapse_core.datasets.lettering import Lettering
from synapse_core.datasets.model import Annotation, ClassDef, Item, Mask, Polygon, Polyline
from synapse_core.datasets.pictures import load_picture
from synapse_core.datasets.preview import MOST_BYTES
from synapse_core.datasets.reading import open_dataset
from synapse_core.datasets.sampling import sample
from synapse_core.datasets.source import open_source
from synapse_core.errors import InvalidRequest

CLASSES = [ClassDef("cat"), ClassDef("dog"), ClassDef("man", keypoints=("a", "b", "c"), skeleton=((0, 1),))]
CAT, DOG, MAN = colours_of([entry.name for entry in CLASSES])
BLACK, GREY, WHITE = (0, 0, 0), (176, 176, 176), (255, 255, 255)


def drawn(*annotations: Annotation) -> Image.Image:
    """Return annotations of an image of 100 x 80 pixels on a black picture of 300 x 240."""
    picture = Image.new("RGB", (300, 240))
    letters = Lettering(13)
    assert draw_annotations(picture, (100, 80), list(annotations), make_legend(CLASSES, letters), letters)
    return picture


def tinted(colour: tuple[int, int, int]) -> Any:
    return pytest.approx([0.35 * part for part in colour], abs=2)


def test_a_box_is_drawn_in_its_class_s_colour_with_its_name_above():
    picture = drawn(Annotation(0, (20, 30, 40, 30)))

    for x, y in ((60, 150), (180, 150), (120, 90), (120, 180)):
        assert picture.getpixel((x, y)) == CAT
    assert picture.getpixel((120, 130)) == BLACK
    assert picture.getpixel((60, 88)) == CAT  # the name's ground
    assert text_colour(CAT) in {picture.getpixel((x, y)) for x in range(60, 90) for y in range(72, 90)}


def test_what_leaves_the_image_ends_at_its_border():
    picture = drawn(Annotation(0, (50, 40, 500, 500)))

    assert picture.getpixel((299, 200)) == CAT
    assert picture.getpixel((200, 239)) == CAT


def test_a_turned_box_has_its_corners_where_they_belong():
    # A square of 40 pixels around (50, 40), turned by 45 degrees.
    picture = drawn(Annotation(1, (30, 20, 40, 40), angle=math.pi / 4))
    reach = 3 * 40 / math.sqrt(2)

    for x, y in ((150, 120 - reach + 2), (150, 120 + reach - 2), (150 - reach + 2, 120)):
        near = [picture.getpixel((round(x) + dx, round(y) + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        assert DOG in near
    assert picture.getpixel((92, 62)) == BLACK


def test_a_polygon_is_filled_but_for_its_hole():
    ring = [10.0, 10.0, 90.0, 10.0, 90.0, 70.0, 10.0, 70.0]
    hole = [40.0, 20.0, 60.0, 20.0, 60.0, 34.0, 40.0, 34.0]
    picture = drawn(Annotation(0, shape=Polygon([ring, hole], holes=1)))

    assert picture.getpixel((60, 180)) == tinted(CAT)
    assert picture.getpixel((150, 80)) == BLACK
    assert picture.getpixel((30, 120)) == CAT


def test_a_mask_is_filled_and_outlined():
    # The columns 50 to 69.
    picture = drawn(Annotation(1, shape=Mask(80, 100, "counts", [50 * 80, 20 * 80, 30 * 80])))

    assert picture.getpixel((180, 200)) == tinted(DOG)
    assert picture.getpixel((150, 200)) == DOG
    assert picture.getpixel((140, 200)) == picture.getpixel((220, 200)) == BLACK


@pytest.mark.parametrize("counts", [[1, 2], [-1, 8001], [0, 10**12]])
def test_a_broken_mask_is_not_drawn(counts: list[int]):
    picture = Image.new("RGB", (50, 40))
    letters = Lettering(13)
    mask = Annotation(0, shape=Mask(80, 100, "counts", counts))

    assert draw_annotations(picture, (100, 80), [mask], make_legend(CLASSES, letters), letters) == 0
    assert picture.getcolors() == [(2000, BLACK)]


def test_key_points_are_joined_hidden_ones_hollow_and_others_left_out():
    points = [20.0, 40.0, 2.0, 60.0, 40.0, 1.0, 80.0, 70.0, 0.0]
    picture = drawn(Annotation(2, points=points))

    assert picture.getpixel((60, 120)) == MAN
    assert picture.getpixel((180, 120)) == WHITE
    assert picture.getpixel((120, 120)) == MAN
    assert picture.getpixel((240, 210)) == BLACK


def test_a_polyline_stays_open():
    picture = drawn(Annotation(0, shape=Polyline([10, 10, 10, 70, 90, 70])))

    assert picture.getpixel((30, 120)) == CAT
    assert picture.getpixel((150, 210)) == CAT
    assert picture.getpixel((200, 60)) == BLACK


def test_wild_coordinates_are_drawn_in_no_time():
    far = 1e8
    drawn(
        Annotation(0, (-far, -far, 2 * far, 2 * far)),
        Annotation(0, (-far, 0, 2 * far, 40), angle=0.7),
        Annotation(1, shape=Polygon([[-far, -far, far, 0.0, 0.0, far]])),
        Annotation(1, shape=Polyline([-far, 0.0, far, far])),
        Annotation(2, points=[-far, far, 2.0, far, -far, 2.0, 10.0, 10.0, 2.0]),
    )


def test_no_name_stands_on_another():
    picture = drawn(*(Annotation(label, (50 + label, 40, 3, 3)) for label in range(3)))
    letters = Lettering(13)
    pixels = {colour: number for number, colour in picture.getcolors(70_000) or ()}

    for entry, colour in zip(CLASSES, (CAT, DOG, MAN), strict=True):
        ground = (letters.width(entry.name) + 5) * (letters.height + 3)
        assert pixels[colour] > 0.6 * ground  # the rest is the letters


def test_colours_follow_from_the_names_whatever_their_order():
    names = [f"class {number}" for number in range(200)]

    there = dict(zip(names, colours_of(names), strict=True))
    back = dict(zip(names[::-1], colours_of(names[::-1]), strict=True))
    assert there == back
    assert len(set(list(there.values())[:100])) > 95


def test_every_name_can_be_read_on_its_colour():
    def light(colour: tuple[int, int, int]) -> float:
        parts = [
            (part / 255 / 12.92) if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for colour in colours_of([str(number) for number in range(300)]):
        low, high = sorted((light(colour), light(text_colour(colour))))
        assert (high + 0.05) / (low + 0.05) >= 4.4, colour


def test_texts_are_cut_to_their_room_and_letters_that_no_font_has_are_replaced():
    letters = Lettering(13)

    assert letters.width(letters.cut("a very long name of a class", 80)) <= 80
    assert letters.cut("folder/name.jpg", 70, keeps_end=True).endswith("name.jpg")
    assert letters.cut("name", 1) == ""
    assert letters.readable("plain") == "plain"
    assert letters.readable("two\nlines") == "two lines"
    assert letters.readable("\U000f0000", "class 3") in ("class 3", " ")
    legend = make_legend([ClassDef("\U0001f9ff\U0001f9ff")], letters)
    assert letters.font(legend.name(0)) is not None


def coco(root: Path, images: dict[str, list[Any]], *, files: dict[str, bytes] | None = None) -> Path:
    """Write a dataset of images of 100 x 80 pixels. images: file name -> classes, of one box each."""
    names = ["cat", "dog", "man"]
    rows = [
        {"image_id": number, "category_id": names.index(name), "bbox": [10, 20, 50, 40]}
        for number, classes in enumerate(images.values())
        for name in classes
    ]
    content = {
        "images": [
            {"id": number, "file_name": key, "width": 100, "height": 80} for number, key in enumerate(images)
        ],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    there: dict[str, str | bytes] = {key: png(100, 80) for key in images if ".." not in key}
    return write_files(root, {**there, **(files or {}), "a.json": json.dumps(content)})


def sheet_of(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


def test_the_sheet_shows_images_annotations_and_a_legend(tmp_path: Path):
    data = preview(coco(tmp_path, {f"{number}.png": ["cat", "dog"] for number in range(4)}))

    sheet = sheet_of(data)
    colours = {colour for _, colour in sheet.getcolors(1 << 20) or ()}
    assert {CAT, DOG, BLACK, WHITE} <= colours
    assert MAN not in colours
    # The legend, at the end: a swatch of each class.
    last = sheet.crop((0, sheet.height - 22, sheet.width, sheet.height))
    assert {CAT, DOG} <= {colour for _, colour in last.getcolors(1 << 20) or ()}
    assert 0.7 * 1_300_000 < sheet.width * sheet.height < 1.3 * 1_300_000


def test_the_same_dataset_gives_the_same_sheet(tmp_path: Path):
    coco(tmp_path, {f"{number}.png": ["cat"] for number in range(30)})

    assert preview(tmp_path) == preview(tmp_path)


def test_only_the_wanted_classes_are_drawn(tmp_path: Path):
    coco(tmp_path, {"a.png": ["cat", "dog"], "b.png": ["cat"], "c.png": ["dog"]})

    sheet = sheet_of(preview(tmp_path, classes=["dog"], max_pixels=300_000))
    colours = {colour for _, colour in sheet.getcolors(1 << 20) or ()}
    assert DOG in colours
    assert CAT not in colours


@pytest.mark.parametrize("max_pixels", [40_000, 400_000, 6_000_000])
def test_photos_full_of_noise_stay_below_the_limit(tmp_path: Path, max_pixels: int):
    noise = io.BytesIO()
    Image.frombytes("RGB", (1200, 900), random.Random(0).randbytes(3 * 1200 * 900)).save(noise, "BMP")
    names = [f"{number}.bmp" for number in range(4)]
    coco(tmp_path, {name: ["cat"] for name in names}, files=dict.fromkeys(names, noise.getvalue()))

    data = preview(tmp_path, max_pixels=max_pixels)

    assert len(data) <= MOST_BYTES
    sheet_of(data)


@pytest.mark.parametrize("count", [1, 2, 5, 36, 64])
def test_any_number_of_images_fits(tmp_path: Path, count: int):
    coco(tmp_path, {f"{number}.png": ["cat"] for number in range(70)})

    sheet = sheet_of(preview(tmp_path, count, max_pixels=500_000))

    assert sheet.width * sheet.height < 800_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": 65}, "count is 65"),
        ({"max_pixels": 1}, "max_pixels is 1"),
        ({"split": "tran"}, "no split 'tran'"),
        ({"classes": ["car"]}, r"no class 'car'.*Did you mean cat"),
        ({"classes": ["man"]}, "No image has 'man'"),
    ],
)
def test_what_cannot_be_shown_is_told(tmp_path: Path, arguments: dict[str, Any], message: str):
    coco(tmp_path, {"a.png": ["cat"], "b.png": ["dog"]})

    with pytest.raises(InvalidRequest, match=message):
        preview(tmp_path, **arguments)


def keys(root: Path, count: int, split: str | None = None, classes: list[str] | None = None) -> list[str]:
    return [item.key for item in sample(open_dataset(root).reader, count, split, classes)]


def test_the_sample_is_spread_and_prefers_images_with_annotations(tmp_path: Path):
    coco(tmp_path, {f"{number:03}.png": ["cat"] if number % 10 == 7 else [] for number in range(100)})

    assert keys(tmp_path, 4) == ["017.png", "037.png", "067.png", "087.png"]
    assert len(set(keys(tmp_path, 50))) == 50
    assert len(keys(tmp_path, 200)) == 100


def test_every_wanted_class_is_in_the_sample(tmp_path: Path):
    images = {f"{number:03}.png": ["cat"] for number in range(100)}
    coco(tmp_path, images | {"070.png": ["dog"], "071.png": ["cat", "man"]})

    found = keys(tmp_path, 6, classes=["cat", "dog", "man"])

    assert len(found) == 6
    assert {"070.png", "071.png"} < set(found)
    assert keys(tmp_path, 9, classes=["dog"]) == ["070.png"]


def test_the_sample_is_of_the_split(tmp_path: Path):
    row = "0 .5 .5 .2 .2\n"
    files: dict[str, str | bytes] = {"data.yaml": "train: images/train\nval: images/val\nnames: [cat]\n"}
    for split, number in (("train", 9), ("val", 3)):
        for at in range(number):
            files |= {f"images/{split}/{split}{at}.png": png(), f"labels/{split}/{split}{at}.txt": row}
    write_files(tmp_path, files)

    assert keys(tmp_path, 4, "val") == ["val0.png", "val1.png", "val2.png"]
    assert keys(tmp_path, 4, "val", ["cat"]) == ["val0.png", "val1.png", "val2.png"]


def note_of(root: Path, image: str | None, width: int = 100, height: int = 80) -> str:
    return load_picture(open_source(root), Item("x", width, height, [], image=image), (300, 300)).note


def test_images_that_cannot_be_shown_are_grey_and_say_why(tmp_path: Path):
    side = (60_000).to_bytes(4)
    bomb = png(1, 1).replace((1).to_bytes(4) * 2, side * 2)
    write_files(
        tmp_path / "set",
        {
            "cut.png": png()[:60],
            "text.png": "no image",
            "bomb.png": bomb,
            "vector.eps": "%!PS-Adobe-3.0 EPSF\n",
        },
    )
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "set/link.png").symlink_to(tmp_path / "secret.png")
    root = tmp_path / "set"

    assert note_of(root, None) == note_of(root, "gone.png") == "image missing"
    assert note_of(root, "../secret.png") == "image missing"
    assert note_of(root, "link.png") == "image unreadable"
    assert note_of(root, "cut.png") == note_of(root, "text.png") == "image unreadable"
    assert note_of(root, "vector.eps") == "image unreadable"
    assert note_of(root, "bomb.png") == "60000 x 60000 pixels are not decoded"
    blank = load_picture(open_source(root), Item("x", 100, 80, []), (300, 300))
    assert blank.scaled((300, 300)).size == (300, 240)
    assert blank.scaled((300, 300)).getcolors() == [(72_000, GREY)]


def test_a_missing_image_has_its_annotations_all_the_same(tmp_path: Path):
    coco(tmp_path, {"../gone.png": ["cat"]})

    colours = {colour for _, colour in sheet_of(preview(tmp_path)).getcolors(1 << 20) or ()}

    assert {CAT, GREY} <= colours


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_shown_as_its_annotations_count(tmp_path: Path, orientation: int):
    photo = Image.new("RGB", (120, 80), BLACK)
    photo.paste((255, 255, 255), (0, 0, 30, 20))
    exif = photo.getexif()
    exif[274] = orientation
    photo.save(tmp_path / "a.jpg", exif=exif, quality=95)
    is_on_its_side = orientation > 4
    corners = {1: "left top", 2: "right top", 3: "right bottom", 4: "left bottom"}
    corners |= {5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom"}

    def bright_corner(width: int, height: int) -> str:
        picture = load_picture(
            open_source(tmp_path), Item("a", width, height, [], image="a.jpg"), (240, 240)
        ).scaled((120, 120))
        across = "left" if picture.resize((2, 2)).crop((0, 0, 1, 2)).getextrema()[0][1] > 20 else "right"
        down = "top" if picture.resize((2, 2)).crop((0, 0, 2, 1)).getextrema()[0][1] > 20 else "bottom"
        return f"{across} {down}"

    upright = (80, 120) if is_on_its_side else (120, 80)
    assert bright_corner(*upright) == corners[orientation]
    if is_on_its_side:
        assert bright_corner(120, 80) == "left top"  # the annotations are of the stored pixels


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "I", "F", "CMYK"])
def test_images_of_every_kind_are_shown(tmp_path: Path, mode: str):
    ramp = Image.linear_gradient("L").resize((64, 48))
    image = ramp.convert("I").convert("I;16") if mode == "I;16" else ramp.convert(mode)
    image.save(tmp_path / "a.tif")

    picture = load_picture(open_source(tmp_path), Item("a", 64, 48, [], image="a.tif"), (64, 48))

    assert picture.note == ""
    low, high = picture.image.convert("L").getextrema()
    assert low < 60
    assert high > 190


def test_an_image_of_another_size_than_stated_is_told(tmp_path: Path):
    write_files(tmp_path, {"a.png": png(50, 40)})

    assert note_of(tmp_path, "a.png", 100, 80) == "the file has 50 x 40"
