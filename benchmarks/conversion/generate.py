"""Datasets of which every byte is known: the same images and boxes in each format, and one large COCO file.

Made with the standard library alone, and the same at every call.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

BOXES_PER_IMAGE = 10
# The classes of Pascal VOC: some tools know no others in that format.
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_SIZES = ((500, 375), (375, 500), (480, 360), (512, 384))
_SHADES = 8

_LARGE_IMAGES = 40_000
LARGE_BOXES = 400_000
_VERTICES = 20
# Different outlines in the large file; each is used 400 times.
_OUTLINES = 1_000


@dataclass(frozen=True)
class Box:
    """An object of an image. label: an index of CLASSES; the rest are pixels."""

    label: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Image:
    """number: 0-based, in the order of the files' names."""

    number: int
    width: int
    height: int
    boxes: tuple[Box, ...]

    @property
    def stem(self) -> str:
        return f"image_{self.number:06d}"


def make_dataset(root: Path, count: int) -> None:
    """Write `count` images with their boxes below root, once in each of these layouts.

    coco, yolo, voc and dm are as their own tools write them. darknet is YOLO with an obj.data, and coco_flat
    and yolo_flat have no splits: that is how some of the other tools want them. The images are hard links.
    """
    images = list(_images(count))
    _write_images(root / "coco/images/train", images)
    _write_coco(root, images)
    _write_yolo(root, images)
    _write_voc(root / "voc", images)
    _write_dm(root / "dm", images)
    for folder in (
        "yolo/images/train",
        "voc/JPEGImages",
        "dm/original_files",
        "darknet/obj_train_data",
        "coco_flat",
        "yolo_flat/images",
    ):
        _link_images(root / "coco/images/train", root / folder, images)


def make_large_coco(root: Path) -> Path:
    """Write annotations/instances_train.json of 160 MB below root and return its path.

    40,000 images, and 400,000 annotations with a box and a polygon of 20 vertices, in no order of the images.
    """
    draw = random.Random(160)
    outlines = [_outline(draw) for _ in range(_OUTLINES)]
    path = _folder(root / "annotations") / "instances_train.json"
    with path.open("w") as file:
        file.write('{"info":{"description":"generated"},"licenses":[],"images":[')
        file.writelines(
            f'{"," if number > 1 else ""}{{"id":{number},"file_name":"{number:012d}.jpg",'
            '"width":640,"height":480}'
            for number in range(1, _LARGE_IMAGES + 1)
        )
        file.write('],"annotations":[')
        for number in range(LARGE_BOXES):
            # 7,919 is prime to the number of images, so that each gets its ten.
            file.write(
                f'{"," if number else ""}{{"id":{number + 1},"image_id":{number * 7919 % _LARGE_IMAGES + 1},'
                f'"category_id":{number % len(CLASSES) + 1},"iscrowd":0,{outlines[number % _OUTLINES]}}}'
            )
        file.write(f'],"categories":{_dumps(_categories())}}}')
    return path


def _images(count: int) -> Iterator[Image]:
    draw = random.Random(count)
    for number in range(count):
        width, height = _SIZES[number % len(_SIZES)]
        boxes = tuple(islice(_boxes(draw, width, height), BOXES_PER_IMAGE))
        yield Image(number, width, height, boxes)


def _boxes(draw: random.Random, width: int, height: int) -> Iterator[Box]:
    """Yield boxes that lie within the image, no two of them equal."""
    seen: set[Box] = set()
    while True:
        x, y = draw.randrange(1, width - 40), draw.randrange(1, height - 40)
        box = Box(
            draw.randrange(len(CLASSES)), x, y, draw.randrange(10, width - x), draw.randrange(10, height - y)
        )
        if box not in seen:
            seen.add(box)
            yield box


def _outline(draw: random.Random) -> str:
    """Return the members of an annotation that tell its shape, with two decimals as COCO's own have."""
    x, y = draw.randrange(0, 440), draw.randrange(0, 280)
    ring = [round(draw.uniform(0, 200) + (y if at % 2 else x), 2) for at in range(2 * _VERTICES)]
    left, top = min(ring[::2]), min(ring[1::2])
    width, height = round(max(ring[::2]) - left, 2), round(max(ring[1::2]) - top, 2)
    area = round(width * height * 0.6, 4)
    return f'"area":{area},"bbox":{_dumps([left, top, width, height])},"segmentation":{_dumps([ring])}'


def _write_images(folder: Path, images: list[Image]) -> None:
    _folder(folder)
    made = {(size, shade): _jpeg(*size, shade) for size in _SIZES for shade in range(_SHADES)}
    for image in images:
        content = made[(image.width, image.height), image.number % _SHADES]
        (folder / f"{image.stem}.jpg").write_bytes(content)


def _link_images(source: Path, folder: Path, images: list[Image]) -> None:
    _folder(folder)
    for image in images:
        os.link(source / f"{image.stem}.jpg", folder / f"{image.stem}.jpg")


def _write_coco(root: Path, images: list[Image]) -> None:
    annotations = (
        {
            "image_id": image.number + 1,
            "category_id": box.label + 1,
            "bbox": [box.x, box.y, box.width, box.height],
            "area": box.width * box.height,
            "iscrowd": 0,
            "segmentation": [],
        }
        for image in images
        for box in image.boxes
    )
    content = {
        "info": {"description": "generated"},
        "licenses": [],
        "images": [
            {
                "id": image.number + 1,
                "file_name": f"{image.stem}.jpg",
                "width": image.width,
                "height": image.height,
            }
            for image in images
        ],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations, 1)],
        "categories": _categories(),
    }
    text = _dumps(content)
    (_folder(root / "coco/annotations") / "instances_train.json").write_text(text)
    (_folder(root / "coco_flat") / "annotations.json").write_text(text)


def _write_yolo(root: Path, images: list[Image]) -> None:
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
    folders = [
        _folder(root / folder)
        for folder in ("yolo/labels/train", "darknet/obj_train_data", "yolo_flat/labels")
    ]
    (root / "yolo/data.yaml").write_text(f"path: .\ntrain: images/train\nnc: {len(CLASSES)}\nnames:\n{names}")
    (root / "yolo_flat/dataset.yaml").write_text(f"train: images\nval: images\nnames: {_dumps(CLASSES)}\n")
    (root / "darknet/obj.names").write_text("\n".join(CLASSES) + "\n")
    (root / "darknet/obj.data").write_text(
        f"classes = {len(CLASSES)}\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    (root / "darknet/train.txt").write_text(
        "".join(f"data/obj_train_data/{image.stem}.jpg\n" for image in images)
    )
    for image in images:
        text = "".join(_yolo_row(image, box) for box in image.boxes)
        for folder in folders:
            (folder / f"{image.stem}.txt").write_text(text)


def _yolo_row(image: Image, box: Box) -> str:
    x, y = (box.x + box.width / 2) / image.width, (box.y + box.height / 2) / image.height
    return f"{box.label} {x:.6f} {y:.6f} {box.width / image.width:.6f} {box.height / image.height:.6f}\n"


def _write_voc(root: Path, images: list[Image]) -> None:
    """Write the corners as most tools do: 0-based, and width = xmax - xmin."""
    folder = _folder(root / "Annotations")
    for image in images:
        objects = "".join(
            f"\t<object>\n\t\t<name>{CLASSES[box.label]}</name>\n\t\t<pose>Unspecified</pose>\n"
            f"\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
            f"\t\t\t<xmin>{box.x}</xmin>\n\t\t\t<ymin>{box.y}</ymin>\n"
            f"\t\t\t<xmax>{box.x + box.width}</xmax>\n\t\t\t<ymax>{box.y + box.height}</ymax>\n"
            "\t\t</bndbox>\n\t</object>\n"
            for box in image.boxes
        )
        (folder / f"{image.stem}.xml").write_text(
            f"<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>{image.stem}.jpg</filename>\n"
            "\t<source>\n\t\t<database>Unknown</database>\n\t</source>\n"
            f"\t<size>\n\t\t<width>{image.width}</width>\n\t\t<height>{image.height}</height>\n"
            f"\t\t<depth>1</depth>\n\t</size>\n\t<segmented>0</segmented>\n{objects}</annotation>\n"
        )
    stems = "".join(f"{image.stem}\n" for image in images)
    (_folder(root / "ImageSets/Main") / "train.txt").write_text(stems)


def _write_dm(root: Path, images: list[Image]) -> None:
    folder = _folder(root / "json")
    for image in images:
        boxes = [
            {
                "id": f"b{image.number:07d}{index:02d}",
                "classification": CLASSES[box.label],
                "attrs": [],
                "data": [box.x, box.y, box.width, box.height],
            }
            for index, box in enumerate(image.boxes)
        ]
        content = {"classification": {"bounding_box": CLASSES}, "images": [{"bounding_box": boxes}]}
        (folder / f"{image.stem}.json").write_text(_dumps(content))


def _categories() -> list[dict[str, object]]:
    return [{"id": number, "name": name, "supercategory": "thing"} for number, name in enumerate(CLASSES, 1)]


def _dumps(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _jpeg(width: int, height: int, shade: int) -> bytes:
    """Return a JPEG of one shade of grey, of some 0.9 kB.

    Each block of 8 x 8 pixels is 2 bits: the shade is that of the block before, and nothing varies within.
    shade: from 0 to _SHADES - 1, the lightest.
    """
    blocks = -(-width // 8) * -(-height // 8)
    # The first block: a difference of 7 bits, of which the first tells the sign; negative ones are less 1.
    difference = 64 + 8 * shade
    bits = "10" + f"{difference:07b}" + "0" + "00" * (blocks - 1)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    # Codes of lengths 1 to 16: how many there are, then what they stand for.
    of_difference = bytes((1, 1, *[0] * 14)) + b"\x00\x07"
    of_rest = bytes((1, *[0] * 15)) + b"\x00"
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
            _segment(0xDB, b"\x00" + b"\x08" * 64),
            _segment(0xC0, b"\x08" + size + b"\x01\x01\x11\x00"),
            _segment(0xC4, b"\x00" + of_difference),
            _segment(0xC4, b"\x10" + of_rest),
            _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            scan,
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes((marker,)) + (len(content) + 2).to_bytes(2, "big") + content
