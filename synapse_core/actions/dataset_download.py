"""A ground truth version as a DM dataset on disk, kept by its content: what is there is not fetched again."""

from __future__ import annotations

import hashlib
import json
import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import msgspec

from synapse_core.actions.turns import cache_folder, turn_at
from synapse_core.backend.records import FileReference, GroundTruth, GroundTruthVersion
from synapse_core.datasets.formats.dm_documents import is_v1, to_v2
from synapse_core.datasets.formats.dm_layout import DOCUMENTS, IMAGES
from synapse_core.datasets.naming import safe_name
from synapse_core.datasets.source import is_image
from synapse_core.datasets.target import FolderTarget
from synapse_core.errors import Conflict, InvalidDataset, InvalidRequest, RecordNotFound

if TYPE_CHECKING:
    from synapse_core.backend import Backend

THREADS = 10
# What of the work the list of items is taken for; the rest is their files.
_LIST_SHARE = 0.1
_MEMORY_BYTES = 8 << 20
_MARK = ".complete"
_CATEGORY = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation"}
_FOLDER = {"train": "train", "validation": "valid", "test": "test"}
_encoder = msgspec.json.Encoder(order="deterministic")

# Called with the share of the work that is done, in [0, 1]; what it raises ends the download.
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Downloaded:
    """A dataset on disk. without_split: items that were left out, because the others have splits."""

    path: Path
    count: int
    is_categorized: bool
    without_split: int = 0
    without_file: int = 0
    is_new: bool = True


class _Entry(msgspec.Struct):
    """One item as it will be on disk. folder: its split's, with a slash, or nothing."""

    folder: str
    stem: str
    extension: str
    file: FileReference | None
    document: dict[str, Any]


def download_dataset(
    client: Backend,
    version_id: int,
    *,
    splits: Mapping[str, Any] | None = None,
    is_categorized: bool = False,
    output: Path | None = None,
    on_progress: OnProgress = lambda _share: None,
) -> Downloaded:
    """Fetch a ground truth version: `json/` and `original_files/`, below a folder for each split.

    splits: train, valid and test -> filters for what belongs there; its category where there are none.
        Without it, items lie in the folders of their categories where any of them has one.
    is_categorized: there have to be splits. output: a folder at which nothing stands; the home's cache,
        by content, where it is left out.

    Raises RecordNotFound, InvalidRequest for splits that there are not, Conflict where something else
    stands at the output, InvalidDataset for annotations that are no DM document.
    """
    version = client.get_ground_truth_version(version_id)
    with SpooledTemporaryFile(_MEMORY_BYTES, prefix="synapse-dataset-") as shelf:
        plan = _Plan(client, version, shelf, splits, is_categorized)
        plan.fill(lambda share: on_progress(_LIST_SHARE * share))
        if output is None:
            output = cache_folder("datasets") / f"{version.id}-{plan.fingerprint[:24]}"
        with turn_at(output, lambda: on_progress(_LIST_SHARE)):
            is_new = not _is_made(output, plan.fingerprint)
            if is_new:
                _make(client, plan, output, on_progress)
    on_progress(1.0)
    return Downloaded(output, plan.count, plan.is_categorized, plan.without_split, plan.without_file, is_new)


class _Plan:
    """All items of a download, on disk where they are many, and what they have in common."""

    def __init__(
        self,
        client: Backend,
        version: GroundTruthVersion,
        shelf: IO[bytes],
        splits: Mapping[str, Any] | None,
        is_categorized: bool,
    ) -> None:
        self._client = client
        self._version = version
        self._shelf = shelf
        self._primary = _primary(client, version)
        self.is_categorized = bool(splits) or any(name in _FOLDER for name, n in version.counts.items() if n)
        if is_categorized and not self.is_categorized:
            raise InvalidRequest(
                f"Ground truth version {version.id} ({version.dataset} {version.version}) has no splits.",
                hint="Leave is_categorized out, or make a version with splits.",
            )
        self._queries = _queries(version, splits)
        self._taken: set[str] = set()
        self._digest = hashlib.sha256()
        self.count = self.without_split = self.without_file = 0

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all names, documents and checksums."""
        return self._digest.hexdigest()

    def fill(self, on_progress: OnProgress) -> None:
        """List the items. Progress is told in [0, 1]."""
        for index, (folder, filters) in enumerate(self._queries):
            listing = self._client.list_ground_truths(filters)
            for number, truth in enumerate(listing):
                self._add(folder, truth)
                if number % 50 == 0:
                    share = min(1.0, number / max(listing.count, 1))
                    on_progress((index + share) / len(self._queries))

    def entries(self) -> Iterator[_Entry]:
        self._shelf.seek(0)
        decoder = msgspec.json.Decoder(_Entry)
        for line in self._shelf:
            yield decoder.decode(line)

    def _add(self, folder: str | None, truth: GroundTruth) -> None:
        if folder is None:
            folder = f"{_FOLDER[truth.category]}/" if truth.category in _FOLDER else ""
            if self.is_categorized and not folder:
                self.without_split += 1
                return
        file = _file_of(truth, self._primary)
        if file is None:
            self.without_file += 1
        stem, extension = self._name(folder, file, truth)
        entry = _Entry(folder, stem, extension, file, _document(truth))
        checksum = None if file is None else file.checksum
        self._digest.update(_encoder.encode((folder, stem, extension, checksum, entry.document)) + b"\n")
        self._shelf.write(_encoder.encode(entry) + b"\n")
        self.count += 1

    def _name(self, folder: str, file: FileReference | None, truth: GroundTruth) -> tuple[str, str]:
        """Return (stem, extension) under which an item is stored: no other has the stem in its folder."""
        name = "" if file is None else (file.name or file.path).replace("\\", "/").rpartition("/")[2]
        name = safe_name(name or f"item_{truth.id}")
        stem, extension = posixpath.splitext(f"_{name}" if name.startswith(".") else name)
        if _folded(folder + stem) in self._taken:
            stem = f"{stem}__{truth.id}"
        while _folded(folder + stem) in self._taken:
            stem += "_"
        self._taken.add(_folded(folder + stem))
        return stem, extension


def _queries(
    version: GroundTruthVersion, splits: Mapping[str, Any] | None
) -> list[tuple[str | None, dict[str, Any]]]:
    """Return (folder, filters) of each listing; folder None where each item's category tells it."""
    asked = {"ground_truth_version": version.id}
    if not splits:
        return [(None, asked)]
    found: dict[str, dict[str, Any]] = {}
    for name, filters in splits.items():
        category = _CATEGORY.get(name.lower(), name.lower())
        if category not in _FOLDER or _FOLDER[category] in found:
            raise InvalidRequest(
                f"{name!r} is no split, or is given twice; the splits are train, valid and test.",
                hint="Give splits such as {'train': {}, 'valid': {}}.",
            )
        if not isinstance(filters or {}, Mapping):
            raise InvalidRequest(f"splits.{name} must be filters, an object; it is {filters!r}.")
        found[_FOLDER[category]] = {"category": category, **(filters or {}), **asked}
    return [(f"{folder}/", filters) for folder, filters in found.items()]


def _primary(client: Backend, version: GroundTruthVersion) -> str | None:
    """Return which of an item's files is annotated; None where nobody can tell any more."""
    if version.project is None:
        return None
    try:
        project = client.get_project(version.project)
        collection = client.get_data_collection(project.data_collection)
    except RecordNotFound:
        return None
    return next((one.name for one in collection.file_specifications if one.is_primary), None)


def _file_of(truth: GroundTruth, primary: str | None) -> FileReference | None:
    if primary is not None and primary in truth.files:
        return truth.files[primary]
    files = [truth.files[name] for name in sorted(truth.files)]
    return next((file for file in files if is_image(file.name or file.path)), files[0] if files else None)


def _document(truth: GroundTruth) -> dict[str, Any]:
    if truth.data is None:
        return {"classification": {}, "images": [{}]}
    try:
        return to_v2(truth.data) if is_v1(truth.data) else truth.data
    except InvalidDataset as error:
        raise InvalidDataset(f"Ground truth {truth.id} is no DM document: {error.message}") from error


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_made(output: Path, fingerprint: str) -> bool:
    """Return True where this very dataset lies there."""
    try:
        known = json.loads((output / _MARK).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False  # something else, if anything; making it will tell
    return isinstance(known, dict) and known.get("fingerprint") == fingerprint


def _make(client: Backend, plan: _Plan, output: Path, on_progress: OnProgress) -> None:
    try:
        target = FolderTarget(output)
    except Conflict as error:
        raise Conflict(
            f"{output} is there already, and is not this dataset.", hint="Give another output_dir."
        ) from error
    try:
        _fetch_all(client, _files(plan, target), plan.count, on_progress)
        target.write(_MARK, json.dumps({"fingerprint": plan.fingerprint, "count": plan.count}).encode())
        target.finish()
    finally:
        target.close()


def _files(plan: _Plan, target: FolderTarget) -> Iterator[tuple[FileReference, Path] | None]:
    """Write the documents, and yield the files that belong to them, None for an item without one."""
    for folder in ("train/", "valid/") if plan.is_categorized else ("",):
        for part in (DOCUMENTS, IMAGES):
            Path(target.work, folder + part).mkdir(parents=True)
    for entry in plan.entries():
        images = Path(target.work, f"{entry.folder}{IMAGES}")
        images.mkdir(parents=True, exist_ok=True)
        target.write(f"{entry.folder}{DOCUMENTS}/{entry.stem}.json", _encoder.encode(entry.document))
        yield None if entry.file is None else (entry.file, images / f"{entry.stem}{entry.extension}")


def _fetch_all(
    client: Backend,
    files: Iterable[tuple[FileReference, Path] | None],
    count: int,
    on_progress: OnProgress,
) -> None:
    """Download files, several at once. The first that fails ends it."""
    done = 0
    pending: set[Future[Path]] = set()

    def settle() -> None:
        nonlocal done, pending
        # In short waits, because a thread that waits longer hears of no stop.
        finished, pending = wait(pending, 0.5, FIRST_COMPLETED)
        for one in finished:
            one.result()
        done += len(finished)
        on_progress(_LIST_SHARE + (1 - _LIST_SHARE) * done / max(count, 1))

    pool = ThreadPoolExecutor(THREADS, "synapse-download")
    try:
        for wanted in files:
            if wanted is None:
                done += 1
                continue
            pending.add(pool.submit(client.download_file, *wanted))
            while len(pending) >= 4 * THREADS:
                settle()
        while pending:
            settle()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
