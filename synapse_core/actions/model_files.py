"""The files of registered models: packed when one is registered, kept by content when one is loaded."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_core.actions.turns import cache_folder, turn_at
from synapse_core.archives import MOST_BYTES, pack_folder, unpack
from synapse_core.backend.records import Model
from synapse_core.datasets.naming import safe_name
from synapse_core.errors import ArchiveError, InvalidRequest

if TYPE_CHECKING:
    from synapse_core.backend import Backend

_ARCHIVE = ".zip"


@contextmanager
def as_file(path: str | Path, name: str, *, most_bytes: int = MOST_BYTES) -> Iterator[Path]:
    """Give a model as one file: itself, or an archive of a folder, which is deleted afterwards.

    Raises InvalidRequest where nothing is there, or nothing is in it; ArchiveError where it is too large.
    """
    place = Path(path).expanduser()
    if place.is_file():
        if place.stat().st_size > most_bytes:
            raise ArchiveError(
                f"{place} has {place.stat().st_size:,} bytes; a model may have {most_bytes:,}.",
                hint="Set most_model_bytes of the action where that is intended.",
            )
        yield place
        return
    if not place.is_dir():
        raise InvalidRequest(
            f"There is no model at {place}: neither a file nor a folder.",
            hint="Give the file or the folder that the training has written.",
        )
    with tempfile.TemporaryDirectory(prefix="synapse_model_") as work:
        target = Path(work, safe_name(name).replace("/", "_") + _ARCHIVE)
        if not pack_folder(place, target, most_bytes=most_bytes).files:
            raise InvalidRequest(f"The folder {place} holds no files; it is no model.")
        yield target


def model_folder(
    client: Backend, model: Model, check: Callable[[], None], *, most_bytes: int = MOST_BYTES
) -> Path:
    """Return the home's copy of a model: a folder with its file, or with what its archive holds.

    It is fetched once for its content, whoever asks at the same time. Its files cannot be written to.
    check: called while waiting for another one that is fetching it. Raises ArchiveError for an archive that
    is damaged, too large or made to do harm.
    """
    name = _file_name(model)
    folder = cache_folder("models") / f"{model.file.checksum}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    with turn_at(folder, check):
        if not folder.is_dir():
            _fetch(client, model, name, folder, most_bytes)
    return folder


def copy_model(folder: Path, target: Path) -> Path:
    """Copy a model's files into a folder of the caller's, where they can be written to."""
    shutil.copytree(folder, target, dirs_exist_ok=True, copy_function=_copy)
    return target


def as_mapping(model: Model, **more: Any) -> dict[str, Any]:
    """Return the fields of a model as a dict."""
    return {**{name: model[name] for name in model}, **more}


def _file_name(model: Model) -> str:
    name = safe_name((model.file.name or model.file.path).replace("\\", "/").rpartition("/")[2])
    return f"_{name}" if name.startswith(".") else name


def _fetch(client: Backend, model: Model, name: str, folder: Path, most_bytes: int) -> None:
    work = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    content = work / "content"
    try:
        work.mkdir()
        if name.lower().endswith(_ARCHIVE):
            archive = client.download_file(model.file, work / name)
            unpack(archive, content, most_bytes=most_bytes)
        else:
            content.mkdir()
            client.download_file(model.file, content / name)
        for path in content.rglob("*"):
            if path.is_file():
                path.chmod(path.stat().st_mode & 0o555)
        content.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy(source: str, target: str) -> str:
    Path(target).unlink(missing_ok=True)
    shutil.copyfile(source, target)
    Path(target).chmod(Path(source).stat().st_mode | 0o200)
    return target
