"""Files in a folder of this machine.

Links are followed as long as they stay inside the folder. A file is written beside its place and renamed.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from synapse_core.errors import InvalidStorageName, StorageError
from synapse_core.storage.configuration import Setting, text
from synapse_core.storage.files import Capabilities, Entry, Provider, kind_of_os_error, walk_entries
from synapse_core.storage.names import PART_PREFIX, check_folder, is_part, shown

# A pipe would keep whoever opens it waiting.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_COPIED_AT_ONCE = 1 << 20
# A folder that was just made can go again with the last file of somebody else.
_FOLDER_TRIES = 5


class LocalFiles:
    """Files below a folder, which is made when the first one is stored."""

    quotes = True
    failures: tuple[type[Exception], ...] = ()

    def __init__(self, location: str) -> None:
        self._root = os.path.realpath(Path(location).expanduser())
        self._prefix = self._root.rstrip("/") + "/"
        self.base_url = Path(self._root).as_uri().rstrip("/") + "/"

    def kind_of(self, error: Exception) -> type[StorageError]:
        return kind_of_os_error(error)

    def info(self, name: str) -> Entry | None:
        try:
            found = Path(self.real_path(name)).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(name, None if stat.S_ISDIR(found.st_mode) else found.st_size)

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        place = self._place(name)
        part = _part_beside(place)
        is_stored = False
        try:
            with _created(part) as target:
                left = size_bytes
                while left and (data := source.read(min(left, _COPIED_AT_ONCE))):
                    left -= len(data)
                    rest = memoryview(data)
                    while rest:
                        rest = rest[target.write(rest) :]
            if left:
                raise OSError(f"{left:,} bytes are missing at the end of the source")
            # Texts and not Paths on this way: with small files they cost as much as the system.
            os.replace(part, place)  # noqa: PTH105
            is_stored = True
        finally:
            if not is_stored:
                Path(part).unlink(missing_ok=True)

    def draft_path(self, name: str) -> tuple[str, int]:
        part = _part_beside(self._place(name))
        Path(part).parent.mkdir(parents=True, exist_ok=True)
        return part, 0o666

    def adopt(self, draft: Path, name: str) -> None:
        draft.replace(self._place(name))

    def read(self, name: str) -> bytes:
        with self.open(name) as found:
            return found.read()

    def fetch(self, name: str, local: Path) -> None:
        with self.open(name) as found, local.open("xb") as target:
            shutil.copyfileobj(found, target, _COPIED_AT_ONCE)

    def open(self, name: str) -> BinaryIO:
        descriptor = os.open(self.real_path(name), _READ | os.O_NOFOLLOW)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(f"{shown(name)} is no file")
        return open(descriptor, "rb")

    def remove(self, name: str) -> None:
        Path(self._place(name)).unlink()

    def remove_tree(self, name: str) -> None:
        place = Path(self._place(name))
        try:
            # A link is removed, not what it leads to.
            if stat.S_ISDIR(place.lstat().st_mode):
                shutil.rmtree(place)
            else:
                place.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return

    def entries(self, folder: str) -> list[Entry]:
        prefix = f"{folder}/" if folder else ""
        found = []
        try:
            with os.scandir(self.real_path(folder)) as entries:
                for entry in entries:
                    size_bytes = self._size_of(entry)
                    if size_bytes is not None:
                        found.append(Entry(prefix + entry.name, size_bytes))
                    elif entry.is_dir(follow_symlinks=False):
                        found.append(Entry(prefix + entry.name, None))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return found

    def walk(self, folder: str) -> Iterator[Entry]:
        return walk_entries(self, folder)

    def make_folder(self, folder: str) -> None:
        Path(self.real_path(folder)).mkdir(parents=True, exist_ok=True)

    def remove_folder(self, folder: str) -> None:
        Path(self._place(folder)).rmdir()

    def close(self) -> None:
        """Nothing is kept open."""

    def real_path(self, name: str) -> str:
        """Return the path of a name, links followed. Raises InvalidStorageName where they lead out."""
        path = self._prefix.rstrip("/")
        # The root is real already, and links are rare: most names need no more than a look at each part.
        for part in name.split("/") if name else ():
            path = f"{path}/{part}"
            try:
                if stat.S_ISLNK(os.lstat(path).st_mode):
                    return self._followed(name)
            except (FileNotFoundError, NotADirectoryError):
                return self._prefix + name
        return path or "/"

    def _followed(self, name: str) -> str:
        real = os.path.realpath(self._prefix + name)
        if real != self._root and not real.startswith(self._prefix):
            raise InvalidStorageName(shown(name), "a link leads out of the storage")
        return real

    def name_of_path(self, path: PurePath) -> str:
        """Return the name of a path inside. Raises InvalidStorageName for any other."""
        real = os.path.realpath(path)
        if real == self._root:
            return ""
        if not real.startswith(self._prefix):
            raise InvalidStorageName(shown(str(path)), "it does not lie in the storage")
        return check_folder(real[len(self._prefix) :])

    def _place(self, name: str) -> str:
        """Return the path of a name whose folder is real; a link in its place is not followed."""
        folder, _, last = name.rpartition("/")
        return f"{self.real_path(folder).rstrip('/')}/{last}"

    def _size_of(self, entry: os.DirEntry[str]) -> int | None:
        """Return the size of a file that is for readers, None for anything else."""
        if is_part(entry.name):
            return None
        if entry.is_symlink() and not os.path.realpath(entry.path).startswith(self._prefix):
            return None
        try:
            found = entry.stat()
        except FileNotFoundError:  # a link to nothing, or gone meanwhile
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None


def _part_beside(place: str) -> str:
    """Return where a file is written that is to stand at a place."""
    return f"{place.rpartition('/')[0]}/{PART_PREFIX}{secrets.token_hex(8)}"


def _created(part: str) -> io.FileIO:
    """Open a new file for writing, unbuffered, in a folder that is made where it is not there yet."""
    for _ in range(_FOLDER_TRIES):
        try:
            return open(part, "xb", buffering=0)
        except FileNotFoundError:
            Path(part).parent.mkdir(parents=True, exist_ok=True)
    return open(part, "xb", buffering=0)


def _connect(configuration: dict[str, Any]) -> LocalFiles:
    return LocalFiles(configuration["location"])


PROVIDER = Provider(
    name="local",
    settings=(Setting("location", "the path of a folder", text, is_required=True),),
    capabilities=Capabilities(
        lists=True, deletes=True, opens=True, renames=True, makes_folders=True, is_local=True
    ),
    connect=_connect,
)
