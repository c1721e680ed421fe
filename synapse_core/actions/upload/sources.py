"""The files below the paths of an upload, as they were found. None is opened here, and nothing but a regular
file inside its path is taken.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from synapse_core.actions.upload.refusals import changed, removed, unreadable
from synapse_core.actions.upload.report import FailureCode, FileRefused, Outcome

# What systems and tools leave in folders.
EXCLUDED = frozenset(
    (
        "@eaDir",
        ".@__thumb",
        "@Recycle",
        "#recycle",
        ".synology",
        "__pycache__",
        ".git",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        ".gitkeep",
    )
)
# Control characters, halves of characters, and what makes a name read otherwise than it is.
_UNSAFE_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]").search


@dataclass(slots=True)
class SourceFile:
    """One file to upload.

    path: absolute. relative: below the folder that was given, POSIX. identity: what is another one once the
    file was changed or replaced. checksum: SHA-256, '' until it was read. extension: the last ending, lower
    case and with its dot, '' where there is none.
    """

    path: str
    relative: str
    size_bytes: int
    changed_ns: int
    identity: tuple[int, int, int, int]
    checksum: str = ""
    folder: str = field(init=False)
    name: str = field(init=False)
    stem: str = field(init=False)
    extension: str = field(init=False)

    def __post_init__(self) -> None:
        self.folder, _, self.name = self.relative.rpartition("/")
        # A dot at the beginning or the end begins no ending.
        dot = self.name.rfind(".")
        is_ending = 0 < dot < len(self.name) - 1
        self.stem = self.name[:dot] if is_ending else self.name
        self.extension = self.name[dot:].lower() if is_ending else ""


def find_files(root: str, is_recursive: bool, outcome: Outcome) -> Iterator[SourceFile]:
    """Yield the files below a folder, or the one file that `root` is, by name.

    Folders that are links are not entered, so nothing is found twice. What is refused goes to `outcome`.
    """
    real_root = os.path.realpath(root)
    if not Path(real_root).is_dir():
        folder, _, name = real_root.rpartition("/")
        file = _taken(real_root, name, folder, outcome)
        if file is not None:
            yield file
        return
    folders = [""]
    while folders:
        folder = folders.pop()
        deeper: list[str] = []
        for name, is_folder in _entries(f"{real_root}/{folder}", folder, outcome):
            if name in EXCLUDED:
                continue
            relative = f"{folder}/{name}" if folder else name
            if is_folder:
                deeper.append(relative)
                continue
            file = _taken(f"{real_root}/{relative}", relative, real_root, outcome)
            if file is not None:
                yield file
        if is_recursive:
            folders += reversed(deeper)


def check_unchanged(file: SourceFile) -> None:
    """Raise FileRefused where a file is not the one any more that was looked at."""
    try:
        found = os.stat(file.path)  # noqa: PTH116  # asked for every file
    except FileNotFoundError:
        raise removed() from None
    except OSError as error:
        raise unreadable(error) from error
    if identity_of(found) != file.identity:
        raise changed()


def identity_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return what is another one once a file was changed or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _entries(path: str, shown: str, outcome: Outcome) -> list[tuple[str, bool]]:
    """Return (name, is a folder and no link) of what a folder holds, sorted."""
    try:
        with os.scandir(path) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        outcome.fail(shown or ".", FailureCode.FILE_LOCKED, f"the folder cannot be read: {error.strerror}")
        return []


def _taken(path: str, relative: str, root: str, outcome: Outcome) -> SourceFile | None:
    """Return the file that stands there, None where it is refused or a link to a folder."""
    try:
        if _UNSAFE_NAME(relative):
            raise FileRefused(FailureCode.UNSAFE_CONTENT, "its name has characters that no name should have")
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            target = os.path.realpath(path)
            if not f"{target}/".startswith(f"{root.rstrip('/')}/"):
                raise FileRefused(FailureCode.UNSAFE_CONTENT, "it is a link that leads out of the path")
            found = Path(path).stat()
            if stat.S_ISDIR(found.st_mode):
                return None  # its files are found where they are
        if not stat.S_ISREG(found.st_mode):
            raise FileRefused(FailureCode.UNSAFE_CONTENT, "it is a pipe, a socket or a device")
    except FileRefused as refused:
        outcome.fail(relative, refused.code, refused.message)
        return None
    except OSError as error:
        outcome.fail(relative, FailureCode.FILE_LOCKED, f"it cannot be read: {error.strerror}")
        return None
    return SourceFile(path, relative, found.st_size, found.st_mtime_ns, identity_of(found))
