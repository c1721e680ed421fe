"""Converters between DM and one other format, as objects: what plugins were promised.

Each is `convert()` of conversion.py with the choices kept; that has every pair of formats, and tells what
became of each annotation.
"""

from __future__ import annotations

import copy
import posixpath
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.datasets.card import CARD_NAME, LOSSES_NAME
from synapse_core.datasets.conversion import ConversionResult, convert
from synapse_core.datasets.formats.dm_documents import Document, is_v1, to_v1, to_v2
from synapse_core.datasets.formats.dm_layout import CLASSES, DOCUMENTS, IMAGES
from synapse_core.datasets.source import inside
from synapse_core.errors import InvalidDataset, InvalidRequest, UnknownConversion


class DatasetFormat(StrEnum):
    """The formats that converters know by name."""

    DM_V1 = "dm_v1"
    DM_V2 = "dm_v2"
    YOLO = "yolo"
    COCO = "coco"
    PASCAL = "pascal"
    IMAGEFOLDER = "imagefolder"


class DMVersion(StrEnum):
    """The versions of DM documents."""

    V1 = "v1"
    V2 = "v2"


_DM = (DatasetFormat.DM_V1, DatasetFormat.DM_V2)
PAIRS: tuple[tuple[DatasetFormat, DatasetFormat], ...] = (
    *((dm, other) for dm in _DM for other in DatasetFormat if other not in _DM),
    *((other, dm) for dm in _DM for other in DatasetFormat if other not in _DM),
    (DatasetFormat.DM_V1, DatasetFormat.DM_V2),
    (DatasetFormat.DM_V2, DatasetFormat.DM_V1),
)


class DatasetConverter(ABC):
    """One conversion of a folder, or of single files, between two formats.

    result: of the last `save_to_folder`, with the report of what was lost.
    """

    def __init__(
        self,
        source_format: DatasetFormat,
        target_format: DatasetFormat,
        root_dir: str | Path | None,
        is_categorized: bool,
        is_single_conversion: bool,
        options: Mapping[str, Any],
    ) -> None:
        if root_dir is None and not is_single_conversion:
            raise InvalidRequest(
                "root_dir is missing.", hint="Give the dataset's folder, or is_single_conversion=True."
            )
        self.source_format = source_format
        self.target_format = target_format
        self.root_dir = None if root_dir is None else Path(root_dir)
        self.is_categorized = is_categorized
        self.is_single_conversion = is_single_conversion
        self.converted_data: dict[str, Any] | None = None
        self.result: ConversionResult | None = None
        self._options = dict(options)

    def convert(self) -> dict[str, Any]:
        """Return what the conversion gives, but images: path -> text, or data where it is a .json file."""
        with tempfile.TemporaryDirectory(prefix="synapse-convert-") as folder:
            output = Path(folder) / "output"
            self._run(self._root(), output, images="none")
            self.converted_data = _texts(output)
        return self.converted_data

    def save_to_folder(self, output_dir: str | Path) -> None:
        """Write the converted dataset to a folder at which nothing stands."""
        self.result = self._run(self._root(), Path(output_dir))

    def get_config_path(self, output_dir: str | Path) -> Path | None:
        """Return the file of a written dataset that is opened first, None where it has none."""
        if self.result is not None and self.result.output == str(Path(output_dir).absolute()):
            path = Path(self.result.config_path or self.result.output)
            return path if path.is_file() else None
        for name in ("data.yaml", "dataset.yaml", "classes.txt"):
            if (found := Path(output_dir) / name).is_file():
                return found
        return None

    def convert_single_file(self, data: Any, original_file: Any, **named: Any) -> Any:
        """Return what one image's annotations are in the target; see FromDMConverter and ToDMConverter."""
        if not self.is_single_conversion:
            raise InvalidRequest(
                "convert_single_file is for converters of single files.",
                hint="Make the converter with is_single_conversion=True.",
            )
        name, image = _image(original_file, named)
        with tempfile.TemporaryDirectory(prefix="synapse-convert-") as folder:
            source, output = Path(folder) / "source", Path(folder) / "output"
            self._write_single(source, data, name, image, named)
            self._run(source, output, images="none", workers=1)
            return self._read_single(output, posixpath.splitext(name)[0], original_file)

    @abstractmethod
    def _write_single(
        self, source: Path, data: Any, name: str, image: bytes, named: Mapping[str, Any]
    ) -> None:
        """Write a dataset of one image."""

    @abstractmethod
    def _read_single(self, output: Path, stem: str, original_file: Any) -> Any:
        """Return what was made of the one image."""

    def _root(self) -> Path:
        if self.root_dir is None:
            raise InvalidRequest("This converter is for single files.", hint="Make one with root_dir.")
        if self.is_categorized and not any(
            (self.root_dir / split).is_dir() for split in ("train", "images/train", "labels/train")
        ):
            raise InvalidDataset(
                f"{self.root_dir} has no folder train.",
                hint="Leave is_categorized out for a dataset without splits.",
            )
        return self.root_dir

    def _run(self, source: Path, output: Path, **more: Any) -> ConversionResult:
        return convert(
            source,
            self.target_format.value,
            output,
            source_format=self.source_format.value,
            **{**self._options, **more},
        )


class FromDMConverter(DatasetConverter):
    """From DM to another format.

    convert_single_file takes a DM document of either version and its image, a path or a file with a name. It
    returns the rows of a YOLO label, a COCO dictionary, the text of a Pascal VOC file, the class of an image
    folder, or a DM document.
    """

    def __init__(
        self,
        root_dir: str | Path | None = None,
        is_categorized: bool = False,
        is_single_conversion: bool = False,
        dm_version: DMVersion | str = DMVersion.V2,
        *,
        target_format: DatasetFormat | str = DatasetFormat.YOLO,
        **options: Any,
    ) -> None:
        self.dm_version = DMVersion(dm_version)
        super().__init__(
            _of_version(self.dm_version),
            DatasetFormat(target_format),
            root_dir,
            is_categorized,
            is_single_conversion,
            options,
        )

    def _write_single(
        self, source: Path, data: Any, name: str, image: bytes, named: Mapping[str, Any]
    ) -> None:
        _put(source / IMAGES / name, image)
        _put(source / DOCUMENTS / f"{posixpath.splitext(name)[0]}.json", msgspec.json.encode(data))

    def _read_single(self, output: Path, stem: str, original_file: Any) -> Any:
        if self.target_format is DatasetFormat.YOLO:
            return _only(output, "**/*.txt").read_text().splitlines()
        if self.target_format is DatasetFormat.COCO:
            return msgspec.json.decode(_only(output, "**/instances*.json").read_bytes())
        if self.target_format is DatasetFormat.PASCAL:
            return _only(output, "**/*.xml").read_text()
        if self.target_format is DatasetFormat.IMAGEFOLDER:
            return _texts(output)
        return msgspec.json.decode(_only(output, f"{DOCUMENTS}/*.json").read_bytes())


class ToDMConverter(DatasetConverter):
    """From another format to DM.

    convert_single_file takes the rows of a YOLO label (with class_names), a COCO dictionary, or the text of a
    Pascal VOC file, and the image; it returns dm_json, image_path and image_name.
    """

    def __init__(
        self,
        root_dir: str | Path | None = None,
        is_categorized: bool = False,
        is_single_conversion: bool = False,
        dm_version: DMVersion | str = DMVersion.V2,
        *,
        source_format: DatasetFormat | str = DatasetFormat.YOLO,
        **options: Any,
    ) -> None:
        self.dm_version = DMVersion(dm_version)
        super().__init__(
            DatasetFormat(source_format),
            _of_version(self.dm_version),
            root_dir,
            is_categorized,
            is_single_conversion,
            options,
        )

    def _write_single(
        self, source: Path, data: Any, name: str, image: bytes, named: Mapping[str, Any]
    ) -> None:
        stem = posixpath.splitext(name)[0]
        if self.source_format is DatasetFormat.YOLO:
            rows = data if isinstance(data, str) else "\n".join(data)
            _put(source / "images/train" / name, image)
            _put(source / "labels/train" / f"{stem}.txt", rows.encode())
            names = named.get("class_names")
            if names is not None:
                described = {"path": ".", "train": "images/train", "names": dict(enumerate(names))}
                _put(source / "data.yaml", msgspec.yaml.encode(described))
        elif self.source_format is DatasetFormat.COCO:
            document = copy.deepcopy(dict(data))
            wanted = named.get("original_image_name") or name
            images = document.get("images") or []
            of_it = [
                one for one in images if posixpath.basename(str(one.get("file_name"))) == wanted
            ] or images
            document["images"] = [{**one, "file_name": name} for one in of_it[:1]]
            ids = [one.get("id") for one in document["images"]]
            found = document.get("annotations") or []
            document["annotations"] = [one for one in found if one.get("image_id") in ids]
            _put(source / "images" / name, image)
            _put(source / "annotations/instances.json", msgspec.json.encode(document))
        elif self.source_format is DatasetFormat.PASCAL:
            _put(source / "JPEGImages" / name, image)
            _put(source / "Annotations" / f"{stem}.xml", data.encode() if isinstance(data, str) else data)
        else:
            _put(source / str(data) / name, image)

    def _read_single(self, output: Path, stem: str, original_file: Any) -> Any:
        found = _only(output, f"**/{DOCUMENTS}/*.json")
        path = (
            original_file if isinstance(original_file, str | Path) else getattr(original_file, "name", None)
        )
        return {
            "dm_json": msgspec.json.decode(found.read_bytes()),
            "image_path": None if path is None else str(path),
            "image_name": None if path is None else posixpath.basename(str(path)),
        }


def get_converter(
    source: DatasetFormat | str, target: DatasetFormat | str, **named: Any
) -> FromDMConverter | ToDMConverter:
    """Return the converter from one format to another.

    named: what FromDMConverter and ToDMConverter take, and the options of `convert`.
    Raises UnknownConversion, a ValueError too, which lists the pairs that there are.
    """
    pair = next(((one, other) for one, other in PAIRS if (one, other) == (str(source), str(target))), None)
    if pair is None:
        raise UnknownConversion(str(source), str(target), [f"{one} -> {other}" for one, other in PAIRS])
    one, other = pair
    if one in _DM:
        return FromDMConverter(**{**named, "dm_version": _version_of(one), "target_format": other})
    return ToDMConverter(**{**named, "dm_version": _version_of(other), "source_format": one})


def convert_v1_to_v2(document: Document) -> dict[str, Any]:
    """Return annotation_data, a document of version 2, and annotation_meta, from which version 1 comes back.

    Raises InvalidDataset where the document is none of version 1.
    """
    if not is_v1(document):
        raise InvalidDataset(
            "The document has neither annotations nor annotationsData, so it is none of version 1."
        )
    return {"annotation_data": to_v2(document), "annotation_meta": copy.deepcopy(document)}


def convert_v2_to_v1(document: Document, annotation_meta: Document | None = None) -> Document:
    """Return a document of version 1.

    document: what `convert_v1_to_v2` gave, or its annotation_data alone.
    annotation_meta: what version 2 has no place for; what is unchanged is as it was there.
    """
    data = document.get("annotation_data", document)
    if not isinstance(data, dict) or is_v1(data):
        raise InvalidDataset("The document is none of version 2.")
    return to_v1(data, document.get("annotation_meta") or annotation_meta)


def _of_version(version: DMVersion) -> DatasetFormat:
    return DatasetFormat.DM_V1 if version is DMVersion.V1 else DatasetFormat.DM_V2


def _version_of(known: DatasetFormat) -> DMVersion:
    return DMVersion.V1 if known is DatasetFormat.DM_V1 else DMVersion.V2


def _image(original_file: Any, named: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the name and bytes of an image: a path, or an open file."""
    if isinstance(original_file, str | Path):
        return Path(original_file).name, Path(original_file).read_bytes()
    name = named.get("file_name") or getattr(original_file, "name", None)
    plain = inside(posixpath.basename(str(name))) if name else None
    if plain is None or not hasattr(original_file, "read"):
        raise InvalidRequest("original_file is a path, or an open file with a name.")
    data: bytes = original_file.read()
    return plain, data


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _only(folder: Path, pattern: str) -> Path:
    """Return the file that was written for the image. Raises InvalidDataset where there is none."""
    found = [
        path for path in sorted(folder.glob(pattern)) if path.name not in (CARD_NAME, LOSSES_NAME, CLASSES)
    ]
    if not found:
        raise InvalidDataset(
            "Nothing of the file could be converted.", hint="Is it of the format that was named?"
        )
    return found[0]


def _texts(folder: Path) -> dict[str, Any]:
    """Return path -> text, or document, of what was written."""
    texts: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (CARD_NAME, LOSSES_NAME):
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            texts[name] = (
                msgspec.json.decode(data) if path.suffix == ".json" else data.decode("utf-8", "replace")
            )
    return texts
