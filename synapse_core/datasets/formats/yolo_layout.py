"""Where the images, labels and names of a YOLO dataset are.

Ultralytics: a YAML file with `path`, `train`, `val`, `test` (a folder, a list file, or a list of them) and
`names`. Darknet: `obj.data` with `train`, `valid` and `names`, the names one a line. Or nothing but folders.
A label lies where its image does, with the last folder `images` replaced by `labels`, and ends in .txt.
Source: the loaders of ultralytics 8.4 and darknet's `data` files.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from typing import Any, TypeGuard

import msgspec

from synapse_core.datasets.glance import Glance
from synapse_core.datasets.report import Losses
from synapse_core.datasets.source import Source, inside, is_image, without_extension
from synapse_core.datasets.splits import SPLIT_NAMES
from synapse_core.errors import InvalidDataset

_KEYS = ("train", "val", "validation", "valid", "test")
_NAMES_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
_YAML = (".yaml", ".yml")


class Image(msgspec.Struct, frozen=True):
    """One image: path below the source's root, key below its folder of images, split."""

    path: str
    key: str
    split: str | None

    @property
    def label(self) -> str:
        """The path of its label: made when it is needed, as there may be very many images."""
        return label_path(self.path)


class Layout(msgspec.Struct):
    """What a YOLO dataset says of itself. names: class id -> name; keypoints: (how many, values of each)."""

    config: str | None = None
    names: dict[int, str] = {}
    keypoints: tuple[int, int] | None = None
    keypoint_names: tuple[str, ...] = ()
    images: list[Image] = []
    splits: tuple[str, ...] = ()
    info: dict[str, Any] = {}


def find_config(source: Source) -> str | None:
    """Return the path of the file that describes the dataset, None where there is none."""
    if source.only is not None:
        return source.only
    _, files = source.names()
    named = [name for name in files if posixpath.splitext(name)[1].lower() in (*_YAML, ".data")]
    usual = [name for name in named if posixpath.splitext(name)[0] in ("data", "dataset", "obj")]
    for name in usual + [name for name in named if name not in usual]:
        if describes_yolo(source.read(name)):
            return name
    return None


def describes_yolo(text: bytes) -> bool:
    """Return True for the text of a data.yaml or obj.data."""
    lines = [line.split(b"#")[0] for line in text.splitlines()]
    keys = {
        line.replace(b"=", b":").partition(b":")[0].strip(b" \t\"'\xef\xbb\xbf")
        for line in lines
        if not line.startswith(b" ")
    }
    return bool(keys & {b"names", b"nc"}) and bool(keys & {b"train", b"val", b"valid", b"test", b"path"})


def read_layout(source: Source, found: Losses) -> Layout:
    """Return where everything is. What is amiss with files is told to `found`.

    Raises InvalidDataset where there are no images, or the description cannot be read.
    """
    config = find_config(source)
    layout = Layout(config)
    lists: dict[str, list[str]] = {}
    if config is not None and config.lower().endswith(_YAML):
        lists = _from_yaml(source, config, layout, found)
    elif config is not None:
        lists = _from_darknet(source, config, layout)
    base = posixpath.dirname(config) if config else ""
    if not layout.names:
        layout.names = _names_beside(source, base)
    if not any(lists.values()):
        lists = _usual_folders(source, base)
    layout.images = _images_of(source, lists, found)
    if not layout.images:
        raise InvalidDataset(
            f"There are no images of a YOLO dataset in {source.root}"
            f"{f' where {config} says they are' if config else ''}.",
            hint="Images belong in images/train and images/val, say, and their labels in labels/train and "
            "labels/val; data.yaml names the folders.",
        )
    _tell_orphans(source, layout, found)
    layout.splits = tuple(dict.fromkeys(image.split for image in layout.images if image.split))
    return layout


def _images_of(source: Source, lists: dict[str, list[str]], found: Losses) -> list[Image]:
    """Return every image once, each with a key that no other of its split has."""
    images: dict[str, Image] = {}
    for split, places in lists.items():
        for place in places:
            repeated = 0
            for image in _images_at(source, place, split or None, found):
                repeated += images.setdefault(image.path, image) is not image
            if repeated:
                message = f"{repeated} images of {split or place} are in another list too, which counts"
                found.tell("SPLIT_DROPPED", place, place, message=message)
    taken = Counter((image.split, image.key) for image in images.values())
    return [
        msgspec.structs.replace(image, key=image.path) if taken[image.split, image.key] > 1 else image
        for image in images.values()
    ]


def label_path(image: str) -> str:
    """Return where the label of an image is."""
    stem = without_extension(image)
    before, found, after = f"/{stem}".rpartition("/images/")
    return (f"{before}/labels/{after}" if found else f"/{stem}")[1:] + ".txt"


def looks_like_yolo(seen: Glance) -> list[str]:
    """Return what speaks for a layout of folders without a description."""
    reasons = []
    for path in seen.named("labels"):
        below = [name for name in seen.folders if name == path or name.startswith(f"{path}/")]
        if any(seen.folders[name].extensions[".txt"] for name in below):
            reasons.append(f"{path}/ holds .txt files")
    if reasons and seen.named("images"):
        reasons.append("a folder images/ beside it")
        return reasons
    return []


def _from_yaml(source: Source, config: str, layout: Layout, found: Losses) -> dict[str, list[str]]:
    from synapse_core.yaml_lines import read_yaml  # 20 ms that no other format needs

    document = read_yaml(source.read(config), as_text=("names",))
    if document.problems:
        problem = document.problems[0]
        raise InvalidDataset(f"{config}:{problem.line} cannot be read as YAML: {problem.message}")
    data = document.data
    if not isinstance(data, dict):
        raise InvalidDataset(f"{config} is not a mapping of train, val and names.")
    layout.names = _named(data, config, found)
    shape = data.get("kpt_shape")
    if shape is not None:
        if not (isinstance(shape, list) and len(shape) == 2 and shape[1] in (2, 3) and _is_count(shape[0])):
            raise InvalidDataset(f"{config}: kpt_shape is {shape!r}; it is [points, 2 or 3].")
        layout.keypoints = (shape[0], shape[1])
    names = data.get("kpt_names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    if isinstance(names, list):
        layout.keypoint_names = tuple(map(str, names))
    known = {*_KEYS, "path", "names", "nc", "kpt_shape", "kpt_names"}
    layout.info = {key: value for key, value in data.items() if key not in known}
    base = _base(source, posixpath.dirname(config), data.get("path"))
    lists: dict[str, list[str]] = {}
    for key in _KEYS:
        value = data.get(key)
        entries = value if isinstance(value, list) else [value] if value else []
        for entry in entries:
            place = _place(source, base, str(entry))
            if place is None:
                found.tell("BAD_FILE", str(entry), config, key, message="there is nothing at this path")
            else:
                lists.setdefault(SPLIT_NAMES[key], []).append(place)
    return lists


def _from_darknet(source: Source, config: str, layout: Layout) -> dict[str, list[str]]:
    pairs = {}
    for line in source.read(config).decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            pairs[key.strip()] = value.strip()
    base = posixpath.dirname(config)
    if names := _place(source, base, pairs.get("names", "")):
        layout.names = _lines_of_names(source, names)
    places = {
        SPLIT_NAMES[key]: place
        for key in _KEYS
        if (place := _place(source, base, pairs.get(key, ""))) is not None
    }
    return {split: [place] for split, place in places.items()}


def _named(data: dict[Any, Any], config: str, found: Losses) -> dict[int, str]:
    """Return class id -> name. Raises InvalidDataset where `names` is neither a list nor a mapping."""
    names, count = data.get("names"), data.get("nc")
    if names is None:
        return {index: f"class_{index}" for index in range(count)} if _is_count(count) else {}
    if isinstance(names, str):
        names = [part.strip() for part in names.strip("[]").split(",")]
    if isinstance(names, list):
        named = {index: str(name) for index, name in enumerate(names)}
    elif isinstance(names, dict) and all(str(key).isdigit() for key in names):
        named = {int(key): str(name) for key, name in sorted(names.items(), key=lambda pair: int(pair[0]))}
    else:
        raise InvalidDataset(f"{config}: names is {names!r}; it is a list, or a mapping of numbers to names.")
    if count is not None and count != len(named):
        message = "nc is not the number of names; the names count"
        found.tell("BAD_FILE", config, config, "nc", before=count, after=len(named), message=message)
    return named


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value < 100_000


def _base(source: Source, folder: str, stated: object) -> str:
    """Return the folder to which the paths of a description are relative."""
    if isinstance(stated, str) and (place := inside(posixpath.join(folder, stated))) is not None:
        if place == ".":
            return ""
        folders, files = source.names(place, 1)
        if folders or files:
            return place
    return folder


def _place(source: Source, base: str, entry: str) -> str | None:
    """Return the path, below the root, of a folder or file that a description names.

    Descriptions are written on other machines: of a path that leads out of the root, the longest end that is
    in it is taken.
    """
    entry = entry.replace("\\", "/").strip()
    if not entry:
        return None
    parts = [part for part in entry.split("/") if part not in ("", ".")]
    if not parts:
        return base  # "." or "./"
    for start in range(len(parts)):
        for folder in dict.fromkeys((base, "")):
            place = inside(posixpath.join(folder, *parts[start:]))
            if place is None or place == ".":
                continue
            if source.has(place):
                return place
            folders, files = source.names(place, 1)
            if folders or files:
                return place
    return None


def _usual_folders(source: Source, base: str) -> dict[str, list[str]]:
    """Return split -> folders of images where no description names them."""
    lists: dict[str, list[str]] = {}
    folders, files = source.names(base)
    prefix = f"{base}/" if base else ""
    for name in folders:
        below, _ = source.names(prefix + name)
        if name.lower() in SPLIT_NAMES and "images" in below:
            lists.setdefault(SPLIT_NAMES[name.lower()], []).append(f"{prefix}{name}/images")
    if "images" in folders:
        below, images = source.names(f"{prefix}images")
        for name in below:
            if name.lower() in SPLIT_NAMES:
                lists.setdefault(SPLIT_NAMES[name.lower()], []).append(f"{prefix}images/{name}")
        if any(map(is_image, images)) or (below and not lists):
            lists.setdefault("", []).append(f"{prefix}images")
    if not lists and any(map(is_image, files)):
        lists[""] = [base]
    if not lists:
        for name in ("obj_train_data", "data"):
            if name in folders:
                lists[""] = [prefix + name]
    return lists


def _names_beside(source: Source, base: str) -> dict[int, str]:
    for folder in dict.fromkeys((base, "", "labels")):
        for name in _NAMES_FILES:
            if source.has(path := posixpath.join(folder, name)):
                return _lines_of_names(source, path)
    return {}


def _lines_of_names(source: Source, path: str) -> dict[int, str]:
    lines = source.read(path).decode("utf-8-sig", "replace").splitlines()
    return {index: line.strip() for index, line in enumerate(lines) if line.strip()}


def _images_at(source: Source, place: str, split: str | None, found: Losses) -> list[Image]:
    """Return the images of a folder, sorted, those that a list file names, or the one that it is."""
    if source.has(place):
        return [_image(place, split)] if is_image(place) else _listed(source, place, split, found)
    images = []
    waiting = [place]
    while waiting:
        folder = waiting.pop(0)
        folders, files = source.names(folder)
        prefix = f"{folder}/" if folder else ""
        for name in files:
            if is_image(name):
                path = prefix + name
                images.append(Image(path, path[len(place) + 1 :] if place else path, split))
        waiting += [prefix + name for name in folders if not (folder == place and name == "labels")]
    return sorted(images, key=lambda image: image.path)


def _listed(source: Source, path: str, split: str | None, found: Losses) -> list[Image]:
    base = posixpath.dirname(path)
    images = []
    for number, line in enumerate(source.read(path).decode("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        place = _place(source, base, line.strip())
        if place is None:
            place = inside(posixpath.join(base, line.strip()))
            if place is None:
                found.tell("OUTSIDE_ROOT", line.strip(), f"{path}:{number}")
                continue
        images.append(_image(place, split))
    return images


def _image(path: str, split: str | None) -> Image:
    """Return an image of which no more is known than where it is."""
    _, after, key = f"/{path}".rpartition("/images/")
    key = key if after else path.rpartition("/")[2]
    if split and key.startswith(f"{split}/"):
        key = key[len(split) + 1 :]
    return Image(path, key, split)


def _tell_orphans(source: Source, layout: Layout, found: Losses) -> None:
    """Tell of label files that have no image."""
    known: dict[str, set[str]] = {}
    for image in layout.images:
        folder, _, name = image.label.rpartition("/")
        known.setdefault(folder, set()).add(name)
    for folder, names in known.items():
        if "labels" not in folder.split("/"):
            continue  # labels beside images: other text files may lie there
        for name in source.names(folder)[1]:
            if name.endswith(".txt") and name not in names and name not in _NAMES_FILES:
                path = f"{folder}/{name}"
                if source.read(path).strip():
                    found.tell("ORPHAN_LABEL", path, path, message="no image of the dataset has this name")
