"""The narrow seam between a storage and its provider: what a provider's files can do, and say that they can.

Names that come here are checked. What goes wrong is raised as the provider's library raises it, or as a
StorageError; the storage translates it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from synapse_core.errors import (
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
)
from synapse_core.storage.configuration import Configuration, Setting

_GONE = frozenset([errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ETIMEDOUT])


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do.

    lists: it tells what there is; counting, sizes and deleting a folder need it.
    deletes: files can be deleted.
    opens: a file can be read at any place of it without a copy here.
    renames: a file gets its name in one step when it is complete, so nobody ever sees half of one.
    makes_folders: a folder can stand there without a file in it.
    is_local: its files are files of this machine, and `get_pathlib` gives real paths.
    """

    lists: bool = False
    deletes: bool = False
    opens: bool = False
    renames: bool = False
    makes_folders: bool = False
    is_local: bool = False


@dataclass(frozen=True)
class Entry:
    """What stands under a name. size_bytes: None for a folder."""

    name: str
    size_bytes: int | None

    @property
    def is_folder(self) -> bool:
        return self.size_bytes is None


class Files(Protocol):
    """The files below the base of one storage. Safe to be used by several threads.

    base_url: what outsiders call the base, with a slash at its end.
    quotes: True where URLs have percent signs for unusual characters.
    failures: what its library raises besides OSError.
    """

    base_url: str
    quotes: bool
    failures: tuple[type[Exception], ...]

    def kind_of(self, error: Exception) -> type[StorageError]:
        """Return the class of ours that an error of `failures`, or an OSError, belongs to."""
        ...

    def info(self, name: str) -> Entry | None:
        """Return what stands there, None where nothing does. name: '' is the base."""
        ...

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        """Store what source holds; it can be read at any place. Raises where another size is stored."""
        ...

    def draft_path(self, name: str) -> tuple[str, int]:
        """Return where a draft of this file is to be written, and with which rights."""
        ...

    def adopt(self, draft: Path, name: str) -> None:
        """Store a complete draft under its name; it may be moved."""
        ...

    def read(self, name: str) -> bytes: ...

    def fetch(self, name: str, local: Path) -> None:
        """Write what is stored into a local file; raise where it comes short."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open for reading. Raises where there is no such file."""
        ...

    def remove(self, name: str) -> None: ...

    def remove_tree(self, name: str) -> None:
        """Remove a folder with all that is in it, or a file; nothing where neither is there."""
        ...

    def entries(self, folder: str) -> list[Entry]:
        """Return what a folder holds itself, in any order; nothing where there is no such folder."""
        ...

    def walk(self, folder: str) -> Iterator[Entry]:
        """Yield all files below a folder, sorted by name."""
        ...

    def make_folder(self, folder: str) -> None: ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder that holds nothing. Raises where it holds something, or is not there."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Provider:
    """One line of the table of providers.

    check: looks at settings together; raises StorageConfigError.
    """

    name: str
    settings: tuple[Setting, ...]
    capabilities: Capabilities
    connect: Callable[[dict[str, Any]], Files]
    check: Callable[[Configuration], None] | None = None


def kind_of_os_error(error: Exception) -> type[StorageError]:
    """Return the class of ours for what the operating system complains about."""
    if isinstance(error, FileNotFoundError):
        return StorageNotFound
    if isinstance(error, PermissionError):
        return StoragePermissionError
    if (
        isinstance(error, ConnectionError | TimeoutError | socket.gaierror)
        or getattr(error, "errno", None) in _GONE
    ):
        return StorageConnectionError
    return StorageError


def walk_entries(files: Files, folder: str) -> Iterator[Entry]:
    """Yield all files below a folder, where `entries` is the only way to know."""
    # A folder sorts as its files do: by what follows its name, which is a slash.
    for entry in sorted(
        files.entries(folder), key=lambda entry: f"{entry.name}/" if entry.is_folder else entry.name
    ):
        if entry.is_folder:
            yield from walk_entries(files, entry.name)
        else:
            yield entry
