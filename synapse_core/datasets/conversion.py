"""convert(): read a dataset, check each annotation, write it in another format, and account for all of it."""

from __future__ import annotations

import gc
import json
import posixpath
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.datasets.card import CARD_NAME, LOSSES_NAME
from synapse_core.datasets.classes import ClassChoice
from synapse_core.datasets.detection import Detection, detect
from synapse_core.datasets.dividing import in_parts
from synapse_core.datasets.format import Format, Reader, WriterSetup
from synapse_core.datasets.formats import find_format
from synapse_core.datasets.naming import Names
from synapse_core.datasets.options import ConvertOptions, make_options
from synapse_core.datasets.parts import Part
from synapse_core.datasets.report import Loss, Losses, LossSummary, keep_examples, summarise
from synapse_core.datasets.source import Source, is_url, open_source
from synapse_core.datasets.splits import split_of
from synapse_core.datasets.target import (
    FolderTarget,
    NoTarget,
    Target,
    disk_full,
    refuse_inside,
    refuse_taken,
)
from synapse_core.decoding import decoded
from synapse_core.errors import InvalidRequest, LossyConversion, UnknownFormat

_encoder = msgspec.json.Encoder()


class ConversionResult(msgspec.Struct, omit_defaults=True):
    """What a conversion made.

    output: the folder; None for a dry run. config_path: the file to open first, data.yaml for YOLO, say.
    losses_path: JSON lines, one an entry of the loss report; None for a dry run. renamed: how many images
    have another name than in the source (in synapse.json, by name).
    """

    source: str
    source_format: str
    evidence: list[str]
    target_format: str
    output: str | None
    config_path: str | None
    losses_path: str | None
    losses: LossSummary
    options: dict[str, Any]
    renamed: int = 0
    seconds: float = 0.0


# Called after each part with (items done, items there are); what it raises ends the conversion.
OnProgress = Callable[[int, int], None]


def convert(
    source: str | Path,
    to: str,
    output: str | Path | None = None,
    *,
    source_format: str = "auto",
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> ConversionResult:
    """Convert a dataset. The output is complete, or not there.

    source: a folder, an annotation file or a URL. to, source_format: see formats(). output: a folder, or a
    URL, at which nothing stands. options: those of ConvertOptions. dry_run: account for everything, write
    nothing.

    Raises NotFound, UnknownFormat, UnrecognisedDataset, AmbiguousDataset or InvalidDataset for the source,
    InvalidRequest and Conflict for the output, LossyConversion where it is to be strict and is not, and
    DiskFull.
    """
    began = time.perf_counter()
    choices, target_format, opened, detection = _checked(source, to, output, source_format, dry_run, options)
    reader = detection.format.read(opened, choices)
    reader.wants_extra = detection.format is target_format
    reader.wants_shapes = target_format.takes_shapes(choices)
    with _without_collections(), _target(None if dry_run else output) as target:
        conversion = _Conversion(reader, target_format, target, choices, on_progress)
        config = conversion.run()
        summary = conversion.summary()
        if choices.strict and not summary.is_lossless:
            raise _lossy(summary, output)
        result = ConversionResult(
            source=str(source),
            source_format=detection.format.name,
            evidence=list(detection.reasons),
            target_format=target_format.name,
            output=None,
            config_path=None,
            losses_path=None,
            losses=summary,
            options=choices.deciding(),
            renamed=len(conversion.names.changed),
        )
        if isinstance(target, FolderTarget):
            conversion.write_card(result)
            target.finish(last=(config, LOSSES_NAME, CARD_NAME))
            root = target.shown
            result.output = root
            result.config_path = posixpath.join(root, config) if config else root
            result.losses_path = posixpath.join(root, LOSSES_NAME)
    result.seconds = time.perf_counter() - began
    return result


def check_conversion(
    source: str | Path,
    to: str,
    output: str | Path | None,
    *,
    source_format: str = "auto",
    dry_run: bool = False,
    **options: Any,
) -> None:
    """Raise what `convert` would raise before it begins: for the source, the output, or an option."""
    _checked(source, to, output, source_format, dry_run, options)
    if output is not None and not dry_run:
        refuse_taken(output)


def _checked(
    source: str | Path,
    to: str,
    output: str | Path | None,
    source_format: str,
    dry_run: bool,
    options: dict[str, Any],
) -> tuple[ConvertOptions, Format, Source, Detection]:
    choices = make_options(**options)
    target_format = find_format(to, verb="write")
    opened = open_source(source)
    detection = detect(opened, source_format)
    if not dry_run:
        if output is None:
            raise InvalidRequest("There is no output to write to.", hint="Give output, or dry_run.")
        refuse_inside(opened, output)
    return choices, target_format, opened, detection


class _Conversion:
    """One conversion: its parts in order, their losses and rows put together."""

    def __init__(
        self,
        reader: Reader,
        target_format: Format,
        target: Target,
        options: ConvertOptions,
        on_progress: OnProgress | None,
    ) -> None:
        self._reader = reader
        self._target = target
        self._options = options
        self._on_progress = on_progress
        self._chosen = ClassChoice(reader.header.classes, options)
        keys: list[str] = []
        splits: list[str | None] = []
        for key, split in reader.entries():
            keys.append(key)
            splits.append(split_of(key, split, options.splits))
        self._count = len(keys)
        self.names = Names(keys, splits, target_format)
        found = [split for split in dict.fromkeys(splits) if split is not None]
        header = msgspec.structs.replace(
            reader.header, classes=self._chosen.classes, splits=tuple(_in_order(found))
        )
        if target_format.write is None:
            raise UnknownFormat(target_format.name, [], "write")
        self._part = Part(
            reader=reader,
            writer=target_format.write(WriterSetup(header, target, reader.source, options)),
            target_format=target_format,
            options=options,
            chosen=self._chosen,
            names=self.names,
        )
        self._losses = Losses(len(reader.header.classes), len(self._chosen.classes))
        self._examples: dict[str, list[Loss]] = {}

    def run(self) -> str:
        """Convert all items. Returns the path of the file to open first."""
        found = self._reader.found
        found.after = [0] * len(
            self._chosen.classes
        )  # a reader knows nothing of the classes that were chosen
        if not self._reader.wants_extra:
            for name, number in self._reader.header.item_fields.items():
                found.tell("FIELDS_DROPPED", "", field=name, message=f"of {number} images")
        self._take(found)
        done = 0
        for result in in_parts(self._part, self._count, self._target):
            self._part.writer.merge(result.piece)
            result.losses.take(result.piece.told)
            self._take(result.losses)
            done += result.items
            if self._on_progress is not None:
                self._on_progress(done, self._count)
        return self._part.writer.finish()

    def summary(self) -> LossSummary:
        return summarise(self._losses, self._reader.header.classes, self._chosen.classes, self._examples)

    def write_card(self, result: ConversionResult) -> None:
        """Write the loss report, and what a reader needs to undo what had to be renamed."""
        card = {
            "source_format": result.source_format,
            "target_format": result.target_format,
            "options": result.options,
            "classes": [entry.name for entry in self._chosen.classes],
            "losses": msgspec.to_builtins(result.losses),
            "renamed": self._renamed(),
        }
        self._target.write(CARD_NAME, msgspec.json.format(_encoder.encode(card), indent=1) + b"\n")
        self._target.append(LOSSES_NAME, b"")

    def _renamed(self) -> dict[str, str]:
        """Return new name -> the key of the source."""
        changed = self.names.changed
        if not changed:
            return {}
        return {
            self.names.of(index, key): key.encode("utf-8", "replace").decode()
            for index, (key, _) in enumerate(self._reader.entries())
            if index in changed
        }

    def _take(self, losses: Losses) -> None:
        self._losses.add(losses)
        entries = losses.entries
        if not entries:
            return
        try:
            lines = _encoder.encode_lines(entries)
        except UnicodeEncodeError:
            entries = [_in_text(entry) for entry in entries]
            lines = _encoder.encode_lines(entries)
        keep_examples(self._examples, entries)
        self._target.append(LOSSES_NAME, lines)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let nobody look for objects that refer to each other: a conversion makes none, and millions of others.

    It takes a twentieth of the time.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


@contextmanager
def _target(output: str | Path | None) -> Iterator[Target]:
    """Give the place to write to; what was not finished is removed."""
    if output is None:
        yield NoTarget()
        return
    try:
        with closing(_url_target(str(output)) if is_url(output) else FolderTarget(output)) as target:
            yield target
    except OSError as error:
        if (full := disk_full(error, str(output))) is not None:
            raise full from error
        raise


def _url_target(url: str) -> FolderTarget:
    from synapse_core.datasets.url_target import UrlTarget  # tempfile: 12 ms, where the output is not here

    return UrlTarget(url)


def _in_text(entry: Loss) -> Loss:
    """Return an entry without the bytes of file names that are no text."""
    text = json.dumps(msgspec.to_builtins(entry), ensure_ascii=False)
    return decoded(text.encode("utf-8", "replace"), Loss)


def _in_order(splits: list[str]) -> list[str]:
    usual = ("train", "val", "valid", "validation", "test")
    return sorted(splits, key=lambda split: (usual.index(split) if split in usual else len(usual), split))


def _lossy(summary: LossSummary, output: str | Path | None) -> LossyConversion:
    told = ", ".join(f"{code} ({number})" for code, number in list(summary.reasons.items())[:8])
    return LossyConversion(
        f"The conversion would lose something: {told}. Nothing was written to {output}.",
        {"reasons": summary.reasons, "examples": msgspec.to_builtins(summary.examples)},
        hint="Leave strict out to convert it all the same; the report names every loss.",
    )
