"""A path on a storage that is not local, for code that works with pathlib's paths. It never
leaves the storage.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from synapse_core.errors import Conflict, StorageNotFound
from synapse_core.storage.files import Entry
from synapse_core.storage.names import check_folder, check_name

if TYPE_CHECKING:
    from synapse_core.storage.storage import Storage


@dataclass(frozen=True)
class StoragePath:
    """One name of a storage, as a path. name_in_storage: '' for the base.

    It has what code needs that reads and writes files: `/`, the parts of a name, exists, iterdir, rglob,
    mkdir, open, read and write. Everything raises what the storage's own functions raise.
    """

    storage: Storage
    name_in_storage: str = ""

    def __truediv__(self, part: str) -> StoragePath:
        below = check_name(str(part))
        return StoragePath(self.storage, f"{self.name_in_storage}/{below}" if self.name_in_storage else below)

    def joinpath(self, *parts: str) -> StoragePath:
        joined = self
        for part in parts:
            joined = joined / part
        return joined

    def __str__(self) -> str:
        return self.storage.get_url(self.name_in_storage)

    def __repr__(self) -> str:
        return f"StoragePath({str(self)!r})"

    def __lt__(self, other: StoragePath) -> bool:
        return self.name_in_storage < other.name_in_storage

    @property
    def name(self) -> str:
        return self._pure.name

    @property
    def stem(self) -> str:
        return self._pure.stem

    @property
    def suffix(self) -> str:
        return self._pure.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        return self._pure.parts

    @property
    def parent(self) -> StoragePath:
        """The folder above; the base is its own."""
        return StoragePath(self.storage, check_folder(self.name_in_storage.rpartition("/")[0]))

    def as_posix(self) -> str:
        """Return the name below the base."""
        return self.name_in_storage

    def with_name(self, name: str) -> StoragePath:
        return self.parent / name

    def with_suffix(self, suffix: str) -> StoragePath:
        return StoragePath(self.storage, str(self._pure.with_suffix(suffix)))

    def relative_to(self, other: StoragePath) -> PurePosixPath:
        """Return the way from another path to this one. Raises ValueError where it is not below."""
        return self._pure.relative_to(other._pure)

    def exists(self) -> bool:
        return self._entry() is not None

    def is_file(self) -> bool:
        found = self._entry()
        return found is not None and not found.is_folder

    def is_dir(self) -> bool:
        found = self._entry()
        return found is not None and found.is_folder

    def stat(self) -> Entry:
        """Return what stands there, with its `size_bytes`. Raises StorageNotFound."""
        found = self._entry()
        if found is None:
            raise StorageNotFound(f"Nothing is stored at {self}.")
        return found

    def iterdir(self) -> Iterator[StoragePath]:
        for entry in self.storage.entries(self.name_in_storage):
            yield StoragePath(self.storage, entry.name)

    def glob(self, pattern: str) -> Iterator[StoragePath]:
        """Yield what the folder holds itself whose name fits a pattern such as '*.json'."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str) -> Iterator[StoragePath]:
        """Yield the files below, at any depth, whose own name fits a pattern such as '*.json'."""
        for name, _ in self.storage.list(self.name_in_storage):
            if fnmatch.fnmatchcase(name.rpartition("/")[2], pattern):
                yield StoragePath(self.storage, name)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder, and those above it. Raises Conflict where it is there, except with exist_ok."""
        if not exist_ok and self.exists():
            raise Conflict(f"{self} is there already.", hint="Give exist_ok=True, or another name.")
        self.storage.make_dirs(self.name_in_storage)

    def open(self, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None) -> IO[Any]:
        return self.storage.open(self.name_in_storage, mode, encoding=encoding, newline=newline)

    def read_bytes(self) -> bytes:
        return self.storage.read_bytes(self.name_in_storage)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> int:
        self.storage.write_bytes(self.name_in_storage, data)
        return len(data)

    def write_text(self, data: str, encoding: str = "utf-8") -> int:
        self.write_bytes(data.encode(encoding))
        return len(data)

    def unlink(self, missing_ok: bool = False) -> None:
        self.storage.delete(self.name_in_storage, missing_ok=missing_ok)

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.name_in_storage)

    def _entry(self) -> Entry | None:
        return self.storage.stat(self.name_in_storage)
