"""Pascal VOC boxes: one XML file an image, with the corners of each object's box in pixels.

The development kit counts pixels from 1 and both corners in; nearly every tool since writes 0-based corners
whose difference is the width. Files do not tell which, so the option voc_coordinates does, for reading and
for writing. Source: the VOC2007 and VOC2012 development kits; <attributes> of CVAT, <polygon> of Roboflow,
<robndbox> of roLabelImg.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from synapse_core.datasets.format import Evidence, Format, Reader
from synapse_core.datasets.formats.voc_layout import ANNOTATION_FOLDERS, LayoutFinder
from synapse_core.datasets.formats.voc_text import Names, Texts, file_name_in
from synapse_core.datasets.formats.voc_write import write
from synapse_core.datasets.glance import Glance
from synapse_core.datasets.model import ClassDef, Header, Item, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.datasets.shares import in_shares
from synapse_core.datasets.sizes import measure
from synapse_core.datasets.source import Source
from synapse_core.datasets.xml_text import InvalidXml
from synapse_core.errors import InvalidDataset, NotFound

_LOOK_INTO = 5


def detect(seen: Glance) -> Evidence | None:
    """Tell Pascal VOC by a look into a few XML files."""
    for path in seen.files(".xml")[:_LOOK_INTO]:
        head = seen.head(path)
        # The older XML of LabelMe has the same root, but <imagesize> and <pt>.
        if b"<annotation" not in head or b"<annotations" in head or b"<imagesize" in head or b"<pt>" in head:
            continue
        if b"<bndbox" in head or b"<size" in head or b"<filename" in head or b"<object" in head:
            folder = path.rpartition("/")[0]
            is_usual = folder.rpartition("/")[2].lower() in ANNOTATION_FOLDERS
            return Evidence(0.95 if is_usual else 0.9, (f"{path} is an <annotation> of an image",))
    return None


def read(source: Source, options: ConvertOptions) -> Reader:
    """Read where everything is, and which classes there are."""
    return VocReader(source, options)


class VocReader:
    """The images of a Pascal VOC dataset with their objects."""

    def __init__(self, source: Source, options: ConvertOptions) -> None:
        self.source = source
        self.wants_extra = False
        self.wants_shapes = True
        told = Losses(0, 0)
        finder = LayoutFinder(source, told)
        layout = finder.find()
        self._entries = layout.entries
        seen = self._first_pass(finder, options.most_processes())
        names = seen.found()
        listed = [name for name in layout.names if name in names or name != "background"]
        if not names & set(listed):
            listed = [] if names else listed  # a list about something else
        ordered = [*listed, *sorted(names - set(listed))]
        classes = [ClassDef(name) for name in ordered]
        splits = tuple(dict.fromkeys(entry.split for entry in self._entries if entry.split))
        self.header = Header("voc", classes, frozenset(seen.kinds), splits)
        self.found = Losses(len(classes), len(classes))
        self.found.codes, self.found.entries = told.codes, told.entries
        if options.images != "none" and not any(entry.image for entry in self._entries):
            self.found.tell("IMAGE_MISSING", "", source.root, message="none of the images is there")
            self._tells_missing = False
        else:
            self._tells_missing = options.images != "none"
        labels = {name: index for index, name in enumerate(ordered)}
        self._texts = Texts(labels, 1 if options.voc_coordinates == "devkit" else 0)

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for entry in self._entries:
            yield entry.key, entry.split

    def items(self, start: int, stop: int, losses: Losses) -> Iterator[tuple[int, Item]]:
        for index in range(start, stop):
            entry = self._entries[index]
            item = Item(entry.key, None, None, [], entry.split, entry.image, entry.label or "")
            if entry.label is not None and not self._read_label(item, entry.label, losses):
                continue
            if entry.image is None and self._tells_missing:
                losses.tell("IMAGE_MISSING", item.key, item.where)
            if item.width is None or item.height is None:
                measure(item, self.source, losses)
            yield index, item

    def _first_pass(self, finder: LayoutFinder, processes: int) -> Names:
        """Return the names and kinds in all files; images are found by the names that the files state."""
        entries = [entry for entry in self._entries if entry.label is not None]
        asked = [(entry.label or "", entry.image is None) for entry in entries]
        names = Names()
        stated: list[str] = []
        for seen, of_files in in_shares(partial(_look_into, self.source), asked, processes):
            names.extend(seen)
            stated += of_files
        for entry, name in zip(entries, stated, strict=True):
            if entry.image is None:
                finder.settle(entry, name)
        return names

    def _read_label(self, item: Item, label: str, losses: Losses) -> bool:
        """Read the XML file of an item. Returns False where nobody can know what is in the image."""
        try:
            content = self._texts.read(self.source.read(label))
        except (InvalidXml, InvalidDataset, NotFound) as error:
            losses.tell("BAD_FILE", item.key, label, message=str(error))
            return False
        item.width, item.height, item.annotations = content.width, content.height, content.annotations
        item.is_plain = content.is_plain
        if content.extra:
            item.extra = {"voc": content.extra}
        for one in content.broken:
            where = f"{label}: object {one.number}"
            losses.unreadable("BAD_ROW", item.key, "box", where, one.message, before=one.text)
        for annotation in content.swapped:
            losses.lose(
                "CORNERS_SWAPPED",
                item.key,
                kind_of(annotation),
                "written",
                count=False,
                where=label,
                after=annotation.box,
            )
        return True


def _look_into(source: Source, asked: Sequence[tuple[str, bool]]) -> tuple[Names, list[str]]:
    """Return the names in files, and the image that each states, '' where it states none or is not asked.

    asked: the path of each file, and whether its image is asked for.
    """
    names = Names()
    stated: list[str] = []
    for path, is_asked in asked:
        of_image = ""
        try:
            data = source.read(path)
            if is_asked:
                of_image = file_name_in(data)
            names.see(data)
        except (InvalidXml, InvalidDataset, NotFound):
            pass  # told when the file is read for what is in it
        stated.append(of_image)
    return names, stated


FORMATS = {
    "voc": Format(
        "voc",
        "Pascal VOC XML, boxes",
        frozenset({"box", "polygon"}),
        detect,
        read,
        write,
        is_by_stem=True,
        has_split_folders=False,
        note="voc_coordinates says how corners are counted; a polygon of one ring is kept beside its box",
    )
}
