"""`python prototypes.py NAME SOURCE OUTPUT`: the least work that a conversion can be, in a fresh process.

Parses and writes, and that is all: no check, no report, no recovery, no choice. What a converter needs beyond
this is what its safety costs. Prints how many seconds it took after the imports, as JSON.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import msgspec

_Box = tuple[float, float, float, float]
_Sizes = dict[str, tuple[int, int]]
_Row = TypeVar("_Row")
# Filled in by %, which takes two thirds of the time of an f-string.
_YOLO_ROW = "%d %.6f %.6f %.6f %.6f\n"
_VOC_OBJECT = (
    "\t<object>\n\t\t<name>%s</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
    "\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>%g</xmin>\n\t\t\t<ymin>%g</ymin>\n"
    "\t\t\t<xmax>%g</xmax>\n\t\t\t<ymax>%g</ymax>\n\t\t</bndbox>\n\t</object>\n"
)


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: _Box


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _NewAnnotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: _Box
    area: float
    iscrowd: int = 0
    segmentation: tuple[()] = ()


class _NewCoco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_NewAnnotation]
    categories: list[_Category]


class _DmBox(msgspec.Struct, gc=False):
    id: str
    classification: str
    data: _Box
    attrs: tuple[()] = ()


class _DmImage(msgspec.Struct, gc=False):
    bounding_box: list[_DmBox]


class _Dm(msgspec.Struct):
    classification: dict[str, list[str]]
    images: list[_DmImage]


def coco_to_yolo(source: Path, output: Path) -> None:
    coco, boxes_of = _read_coco(source)
    labels = {category.id: index for index, category in enumerate(coco.categories)}
    folder = _Folder(output / "labels/train")
    for image in coco.images:
        width, height = image.width, image.height
        rows = [
            _yolo_row(labels[one.category_id], one.bbox, width, height) for one in boxes_of.get(image.id, ())
        ]
        folder.write(f"{_stem(image.file_name)}.txt", "".join(rows).encode())
    _write_data_yaml(output, [category.name for category in coco.categories])


def yolo_to_coco(source: Path, output: Path) -> None:
    names = _read_data_yaml(source / "data.yaml")
    sizes = _image_sizes(source / "images/train")
    _write_coco(output, names, sizes, lambda stem: _read_yolo(source / "labels/train", stem, sizes[stem]))


def coco_to_voc(source: Path, output: Path) -> None:
    coco, boxes_of = _read_coco(source)
    names = {category.id: category.name for category in coco.categories}
    folder = _Folder(output / "Annotations")
    for image in coco.images:
        objects = [
            _VOC_OBJECT % (names[one.category_id], x, y, x + w, y + h)
            for one in boxes_of.get(image.id, ())
            for x, y, w, h in (one.bbox,)
        ]
        text = (
            f"<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>{image.file_name}</filename>\n"
            "\t<source>\n\t\t<database>Unknown</database>\n\t</source>\n"
            f"\t<size>\n\t\t<width>{image.width}</width>\n\t\t<height>{image.height}</height>\n"
            f"\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
        )
        folder.write(f"{_stem(image.file_name)}.xml", text.encode())


def voc_to_coco(source: Path, output: Path) -> None:
    """Read one file after the other; the classes are numbered as they come."""
    folder = source / "Annotations"
    names: dict[str, int] = {}
    images: list[_Image] = []
    annotations: list[_NewAnnotation] = []
    for number, name in enumerate(_listed(folder), 1):
        root = ElementTree.fromstring(_read(f"{folder}/{name}"))
        find = root.find("size").find  # type: ignore[union-attr]
        images.append(
            _Image(number, root.findtext("filename"), int(find("width").text), int(find("height").text))
        )  # type: ignore
        for each in root.iter("object"):
            label = names.setdefault(each.find("name").text, len(names) + 1)  # type: ignore
            find = each.find("bndbox").find  # type: ignore[union-attr]
            left, top = float(find("xmin").text), float(find("ymin").text)  # type: ignore
            width, height = float(find("xmax").text) - left, float(find("ymax").text) - top  # type: ignore
            annotations.append(
                _NewAnnotation(
                    len(annotations) + 1, number, label, (left, top, width, height), width * height
                )
            )
    _write_json(
        output, _NewCoco(images, annotations, [_Category(number, name) for name, number in names.items()])
    )


def dm_to_yolo(source: Path, output: Path) -> None:
    sizes = _image_sizes(source / "original_files")
    labels: dict[str, int] = {}
    folder = _Folder(output / "labels/train")
    for stem, boxes in _read_dm(source / "json"):
        width, height = sizes[stem]
        rows = [
            _yolo_row(labels.setdefault(box.classification, len(labels)), box.data, width, height)
            for box in boxes
        ]
        folder.write(f"{stem}.txt", "".join(rows).encode())
    _write_data_yaml(output, list(labels))


def yolo_to_dm(source: Path, output: Path) -> None:
    names = _read_data_yaml(source / "data.yaml")
    folder = _Folder(output / "json")
    encode = msgspec.json.Encoder().encode
    for stem, size in _image_sizes(source / "images/train").items():
        boxes = [
            _DmBox(f"{stem[-7:]}{index:03d}", names[label], box)
            for index, (label, box) in enumerate(_read_yolo(source / "labels/train", stem, size))
        ]
        folder.write(f"{stem}.json", encode(_Dm({"bounding_box": names}, [_DmImage(boxes)])))


def coco_to_dm(source: Path, output: Path) -> None:
    coco, boxes_of = _read_coco(source)
    names = {category.id: category.name for category in coco.categories}
    all_names = list(names.values())
    folder, beside = _Folder(output / "json"), _Folder(output / "meta")
    encode = msgspec.json.Encoder().encode
    for image in coco.images:
        stem = _stem(image.file_name)
        boxes = [
            _DmBox(f"{stem[-7:]}{index:03d}", names[one.category_id], one.bbox)
            for index, one in enumerate(boxes_of.get(image.id, ()))
        ]
        folder.write(f"{stem}.json", encode(_Dm({"bounding_box": all_names}, [_DmImage(boxes)])))
        # DM has no other place for a size that is in no image.
        size = {"width": image.width, "height": image.height}
        beside.write(f"{stem}.json", encode({"extra": {"image_1": size}}))


def dm_to_coco(source: Path, output: Path) -> None:
    sizes = _image_sizes(source / "original_files")
    numbers: dict[str, int] = {}
    images: list[_Image] = []
    annotations: list[_NewAnnotation] = []
    for number, (stem, boxes) in enumerate(_read_dm(source / "json"), 1):
        images.append(_Image(number, f"{stem}.jpg", *sizes[stem]))
        for box in boxes:
            label = numbers.setdefault(box.classification, len(numbers) + 1)
            annotations.append(
                _NewAnnotation(len(annotations) + 1, number, label, box.data, box.data[2] * box.data[3])
            )
    _write_json(
        output, _NewCoco(images, annotations, [_Category(number, name) for name, number in numbers.items()])
    )


def large_coco_read(source: Path, output: Path) -> None:
    """Decode a COCO file of any size in parts of 2 MB, and keep nothing: the fastest reader that is known."""
    images = sum(len(part) for part in _array(source, b'"images":[', _Image))
    annotations = sum(len(part) for part in _array(source, b'"annotations":[', _Annotation))
    output.mkdir(parents=True)
    (output / "counts.json").write_bytes(msgspec.json.encode({"images": images, "boxes": annotations}))


def large_coco_to_yolo(source: Path, output: Path) -> None:
    """Convert boxes as the reader gives them: columns of numbers, and a counting sort by image."""
    names = _last_names(source)
    images = [image for part in _array(source, b'"images":[', _Image) for image in part]
    index_of = {image.id: index for index, image in enumerate(images)}
    of_image, labels, boxes = array("i"), array("i"), array("d")
    for part in _array(source, b'"annotations":[', _Annotation):
        for one in part:
            of_image.append(index_of[one.image_id])
            labels.append(one.category_id - 1)
            boxes.extend(one.bbox)
    # A counting sort: where the rows of each image begin.
    begins = array("i", bytes(4 * (len(images) + 1)))
    for index in of_image:
        begins[index + 1] += 1
    for index in range(len(images)):
        begins[index + 1] += begins[index]
    order, filled = array("i", bytes(4 * len(of_image))), begins[:]
    for row, index in enumerate(of_image):
        order[filled[index]] = row
        filled[index] += 1
    folder = _Folder(output / "labels/train")
    for index, image in enumerate(images):
        rows = [
            _yolo_row(labels[row], tuple(boxes[4 * row : 4 * row + 4]), image.width, image.height)  # type: ignore
            for row in order[begins[index] : begins[index + 1]]
        ]
        folder.write(f"{_stem(image.file_name)}.txt", "".join(rows).encode())
    _write_data_yaml(output, names)


CONVERSIONS: dict[str, Callable[[Path, Path], None]] = {
    "coco2yolo": coco_to_yolo,
    "yolo2coco": yolo_to_coco,
    "coco2voc": coco_to_voc,
    "voc2coco": voc_to_coco,
    "dm2yolo": dm_to_yolo,
    "yolo2dm": yolo_to_dm,
    "coco2dm": coco_to_dm,
    "dm2coco": dm_to_coco,
    "large_read": large_coco_read,
    "large2yolo": large_coco_to_yolo,
}


class _Folder:
    """A new folder whose files are made relative to it, which spares walking its path for each."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self._descriptor = os.open(path, os.O_RDONLY)

    def write(self, name: str, content: bytes) -> None:
        file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=self._descriptor)
        os.write(file, content)
        os.close(file)


def _array(path: Path, name: bytes, row: type[_Row]) -> Iterator[list[_Row]]:
    """Yield the rows of one array of a compact JSON file, a part at a time; another member follows it.

    A part ends between two objects, which only those of an array have next to each other in such a file.
    """
    decode = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
    with path.open("rb") as file:
        # Only the pages before what is looked for are touched, and count as memory.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            file.seek(whole.find(name) + len(name))
        rest = b""
        while True:
            data = rest + file.read(2 << 20)
            if (end := data.find(b'}],"')) >= 0:
                yield decode(b"[%b}]" % data[:end])
                return
            cut = data.rfind(b"},{")
            yield decode(b"[%b}]" % data[:cut])
            rest = data[cut + 2 :]


def _last_names(path: Path) -> list[str]:
    """Return the names of the categories, which end the file."""
    with path.open("rb") as file:
        file.seek(-(64 << 10), os.SEEK_END)
        _, _, text = file.read().partition(b'"categories":')
    return [category.name for category in msgspec.json.decode(text[:-1], type=list[_Category])]


def _read_coco(source: Path) -> tuple[_Coco, dict[int, list[_Annotation]]]:
    data = (source / "annotations/instances_train.json").read_bytes()
    coco = msgspec.json.decode(data, type=_Coco)
    boxes_of: dict[int, list[_Annotation]] = {}
    for one in coco.annotations:
        boxes_of.setdefault(one.image_id, []).append(one)
    return coco, boxes_of


def _read_yolo(folder: Path, stem: str, size: tuple[int, int]) -> Iterator[tuple[int, _Box]]:
    width, height = size
    for line in _read(f"{folder}/{stem}.txt").splitlines():
        label, x, y, w, h = line.split()
        box_width, box_height = float(w) * width, float(h) * height
        left, top = float(x) * width - box_width / 2, float(y) * height - box_height / 2
        yield int(label), (left, top, box_width, box_height)


def _read_dm(folder: Path) -> Iterator[tuple[str, list[_DmBox]]]:
    decode = msgspec.json.Decoder(_Dm).decode
    for name in _listed(folder):
        yield _stem(name), decode(_read(f"{folder}/{name}")).images[0].bounding_box


def _image_sizes(folder: Path) -> _Sizes:
    return {_stem(name): _jpeg_size(f"{folder}/{name}") for name in _listed(folder)}


def _jpeg_size(path: str) -> tuple[int, int]:
    """Return width and height from the first kB: baseline JPEGs only."""
    file = os.open(path, os.O_RDONLY)
    data = os.read(file, 1024)
    os.close(file)
    at = 2
    while data[at + 1] != 0xC0:
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6]


def _write_coco(
    output: Path, names: list[str], sizes: _Sizes, read: Callable[[str], Iterator[tuple[int, _Box]]]
) -> None:
    images: list[_Image] = []
    annotations: list[_NewAnnotation] = []
    for number, (stem, size) in enumerate(sizes.items(), 1):
        images.append(_Image(number, f"{stem}.jpg", *size))
        for label, box in read(stem):
            annotations.append(_NewAnnotation(len(annotations) + 1, number, label + 1, box, box[2] * box[3]))
    categories = [_Category(number, name) for number, name in enumerate(names, 1)]
    _write_json(output, _NewCoco(images, annotations, categories))


def _write_json(output: Path, content: _NewCoco) -> None:
    folder = output / "annotations"
    folder.mkdir(parents=True)
    (folder / "instances_train.json").write_bytes(msgspec.json.encode(content))


def _read_data_yaml(path: Path) -> list[str]:
    lines = path.read_text().split("names:\n")[1].splitlines()
    return [line.split(": ", 1)[1] for line in lines]


def _write_data_yaml(output: Path, names: list[str]) -> None:
    lines = "".join(f"  {index}: {name}\n" for index, name in enumerate(names))
    (output / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames:\n{lines}")


def _yolo_row(label: int, box: _Box, width: int, height: int) -> str:
    x, y, w, h = box
    return _YOLO_ROW % (label, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height)


def _listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208  # names, not paths


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    data = os.read(file, 1 << 20)
    os.close(file)
    return data


def _stem(name: str) -> str:
    return name[: name.rfind(".")]


if __name__ == "__main__":
    convert = CONVERSIONS[sys.argv[1]]
    begun = time.perf_counter()
    convert(Path(sys.argv[2]), Path(sys.argv[3]))
    print(f'{{"convert_seconds": {time.perf_counter() - begun:.6f}}}')
