"""Reading below one root, and nowhere else.

Nothing outside the root is read: names that lead out of it ('..', absolute ones) and symbolic links that do
are refused. A root is a local folder or file, or a URL that fsspec opens.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from synapse_core.errors import InvalidDataset, InvalidRequest, NotFound, Unavailable

IMAGE_EXTENSIONS = frozenset(
    [
        ".avif",
        ".bmp",
        ".dng",
        ".gif",
        ".heic",
        ".heif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".mpo",
        ".png",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
# Files that hold a whole dataset may be large; those that hold one item may not.
MOST_ITEM_BYTES = 64 << 20
# A pipe would keep whoever opens it waiting.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
# Names that are their own plain form: no empty part, none of dots, nothing that another system minds.
_IS_PLAIN = re.compile(r"(?:[\w-][\w .()@+,=~-]*/)*[\w-][\w .()@+,=~-]*").fullmatch


class Source(Protocol):
    """A folder of files; paths are below it, with / between their parts.

    only: the file that was named, where the root was given as a file and not as a folder.
    """

    root: str
    only: str | None

    def __hash__(self) -> int: ...

    def names(self, folder: str = "", most: int | None = None) -> tuple[list[str], list[str]]:
        """Return the sub-folders and files of a folder, each sorted; empty lists where there is none.

        most: stop after so many entries, for a look. Links that lead out of the root are left out.
        """
        ...

    def read(self, path: str, most_bytes: int = MOST_ITEM_BYTES) -> bytes:
        """Return what a file holds.

        Raises NotFound where there is none, and InvalidDataset where it is longer than most_bytes or cannot
        be read.
        """
        ...

    def has(self, path: str) -> bool:
        """Return True where there is such a file inside the root."""
        ...

    def head(self, path: str, size: int) -> bytes:
        """Return the first bytes of a file. Raises as `read` does."""
        ...

    def descriptor(self, path: str) -> int:
        """Return a descriptor of a file, open for reading, which the caller closes. Raises as `read` does."""
        ...

    def local(self, path: str) -> Any:
        """A context that gives the file's local path, of a copy where the source is remote."""
        ...

    def path(self, path: str) -> str:
        """Return what outsiders call the file: a local path or a URL."""
        ...


def open_source(where: str | Path) -> Source:
    """Return the source at a path or URL. Raises NotFound where there is nothing."""
    if is_url(where):
        return RemoteSource(str(where))
    path = local_path(where)
    if not path.exists():
        raise NotFound(
            f"There is nothing at {where}.",
            hint="Give the path of a dataset's folder or of its annotation file.",
        )
    if path.is_file():
        return LocalSource(path.parent, path.name)
    return LocalSource(path, None)


def is_url(where: str | Path) -> bool:
    """Return True for what fsspec opens; a file: URL is a local path."""
    return isinstance(where, str) and bool(_URL.match(where)) and not where.lower().startswith("file://")


def local_path(where: str | Path) -> Path:
    """Return the path that a text or a file: URL means."""
    if isinstance(where, str) and where.lower().startswith("file://"):
        return Path(unquote(urlsplit(where).path))
    return Path(where).expanduser()


def open_files(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path there. Raises InvalidRequest where nothing opens it."""
    import fsspec  # only where a dataset is remote: it takes 60 ms

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InvalidRequest(f"{url} cannot be opened: {error}.") from error
    return files, root.rstrip("/")


def inside(path: str) -> str | None:
    """Return a path below the root in its plain form, None where it leads out of it or is not one."""
    if _IS_PLAIN(path):
        return path
    path = path.replace("\\", "/")
    if not path or path.startswith("/") or "\0" in path or _DRIVE.match(path):
        return None
    plain = posixpath.normpath(path)
    return None if plain == ".." or plain.startswith("../") else plain


def walk(source: Source, folder: str = "") -> Iterator[str]:
    """Yield the paths of all files below a folder, a folder's own first, sorted."""
    folders, files = source.names(folder)
    prefix = f"{folder}/" if folder else ""
    for name in files:
        yield prefix + name
    for name in folders:
        yield from walk(source, prefix + name)


def is_image(name: str) -> bool:
    return extension_of(name) in IMAGE_EXTENSIONS


def extension_of(path: str) -> str:
    """Return the extension of a path in lower case with its dot, '' where it has none."""
    return path[len(without_extension(path)) :].lower()


def without_extension(path: str) -> str:
    """Return what os.path.splitext does, in a quarter of the time where the name is a usual one."""
    at = path.rfind(".")
    if at > 0 and path[at - 1] not in "./" and path.find("/", at) < 0:
        return path[:at]
    return posixpath.splitext(path)[0]


class LocalSource:
    """A local folder."""

    def __init__(self, root: Path, only: str | None) -> None:
        self.root = os.path.realpath(root)
        self.only = only
        # Folders that were looked at: whether they really lie inside the root.
        self._folders: dict[str, bool] = {"": True}

    def names(self, folder: str = "", most: int | None = None) -> tuple[list[str], list[str]]:
        folders: list[str] = []
        files: list[str] = []
        if not self._is_safe_folder(folder):
            return folders, files
        try:
            with os.scandir(self.path(folder)) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self._is_inside(entry.path):
                        continue
                    (folders if entry.is_dir() else files).append(entry.name)
                    if most is not None and len(folders) + len(files) >= most:
                        break
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except PermissionError as error:
            raise InvalidDataset(f"{error.filename} cannot be read: {error.strerror}.") from error
        return sorted(folders), sorted(files)

    def read(self, path: str, most_bytes: int = MOST_ITEM_BYTES) -> bytes:
        descriptor, size = self._open(path)
        try:
            if size > most_bytes:
                raise InvalidDataset(
                    f"{path} is {size:,} bytes long; such a file may have {most_bytes:,}.",
                    hint="Is it the right file?",
                )
            data = os.read(descriptor, size + 1)
            while len(data) < size and (more := os.read(descriptor, size - len(data))):
                data += more
            return data
        finally:
            os.close(descriptor)

    def has(self, path: str) -> bool:
        folder, _, _ = path.rpartition("/")
        if not self._is_safe_folder(folder):
            return False
        full = self.path(path)
        try:
            mode = os.lstat(full).st_mode
        except (OSError, ValueError):
            return False
        if stat.S_ISLNK(mode):
            return self._is_inside(full) and Path(full).is_file()
        return stat.S_ISREG(mode)

    def head(self, path: str, size: int) -> bytes:
        descriptor, _ = self._open(path)
        try:
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)

    def descriptor(self, path: str) -> int:
        return self._open(path)[0]

    @contextmanager
    def local(self, path: str) -> Iterator[str]:
        os.close(self._open(path)[0])
        yield self.path(path)

    def path(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _open(self, path: str) -> tuple[int, int]:
        """Open a file that lies inside the root for reading, and return its descriptor and its size."""
        folder, _, _ = path.rpartition("/")
        full = self.path(path)
        if inside(path) is None or not self._is_safe_folder(folder):
            raise NotFound(f"{path} does not lie in {self.root}.")
        try:
            descriptor = os.open(full, _OPEN | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"There is no file {path} in {self.root}.") from error
        except OSError as error:
            # A link is followed only once it is known to stay inside.
            if not Path(full).is_symlink():
                raise InvalidDataset(f"{path} cannot be read: {error.strerror}.") from error
            if not self._is_inside(full):
                raise InvalidDataset(f"{path} is a link that leads out of {self.root}.") from error
            descriptor = self._follow(full, path)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise InvalidDataset(f"{path} is not a file.")
        return descriptor, found.st_size

    def _follow(self, full: str, path: str) -> int:
        try:
            return os.open(full, _OPEN)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {path} in {self.root}.") from error
        except OSError as error:
            raise InvalidDataset(f"{path} cannot be read: {error.strerror}.") from error

    def _is_safe_folder(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is None:
            known = inside(folder) is not None and self._is_inside(self.path(folder))
            self._folders[folder] = known
        return known

    def _is_inside(self, full: str) -> bool:
        real = os.path.realpath(full)
        return real == self.root or real.startswith(f"{self.root}/")


class RemoteSource:
    """A folder, or a file, that fsspec opens."""

    def __init__(self, url: str) -> None:
        self._files, self._root = open_files(url)
        # On the web a folder is a page like any other: one that ends in / or has no extension.
        self._is_web = url.lower().startswith(("http://", "https://"))
        try:
            if self._is_web:
                is_file = not url.endswith("/") and "." in self._root.rpartition("/")[2]
                self._files.info(self._root if is_file else f"{self._root}/")
            else:
                is_file = self._files.info(self._root)["type"] == "file"
        except FileNotFoundError as error:
            raise NotFound(f"There is nothing at {url}.") from error
        except OSError as error:
            raise Unavailable(f"{url} cannot be read: {error}.") from error
        self.only: str | None = None
        self.root = url.rstrip("/")
        if is_file:
            self.root, _, self.only = self.root.rpartition("/")
            self._root = self._root.rpartition("/")[0]

    def names(self, folder: str = "", most: int | None = None) -> tuple[list[str], list[str]]:
        try:
            entries = self._files.ls(self._at(folder) + "/" * self._is_web, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        named = [(entry["name"].rstrip("/").rpartition("/")[2], entry["type"]) for entry in entries]
        return (
            sorted(name for name, kind in named if kind == "directory" and name)[:most],
            sorted(name for name, kind in named if kind != "directory" and name)[:most],
        )

    def read(self, path: str, most_bytes: int = MOST_ITEM_BYTES) -> bytes:
        try:
            data: bytes = self._files.cat_file(self._at(path))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"There is no file {path} in {self.root}.") from error
        if len(data) > most_bytes:
            raise InvalidDataset(f"{path} is {len(data):,} bytes long; such a file may have {most_bytes:,}.")
        return data

    def has(self, path: str) -> bool:
        if inside(path) is None:
            return False
        if self._is_web:
            # There every folder is a file too; where no folder is shown, a file is what has an extension.
            folder, _, name = path.rpartition("/")
            folders, files = self.names(folder)
            if folders or files:
                return name in files
            return "." in name and bool(self._files.exists(self._at(path)))
        return bool(self._files.isfile(self._at(path)))

    def head(self, path: str, size: int) -> bytes:
        try:
            data: bytes = self._files.cat_file(self._at(path), start=0, end=size)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {path} in {self.root}.") from error
        return data

    def descriptor(self, path: str) -> int:
        with self.local(path) as file:
            return os.open(file, _OPEN)  # the copy has no name any more, and lives until this is closed

    @contextmanager
    def local(self, path: str) -> Iterator[str]:
        import tempfile  # 12 ms, only where a dataset is remote

        with tempfile.TemporaryDirectory(prefix="synapse-dataset-") as folder:
            copy = f"{folder}/{path.rpartition('/')[2]}"
            try:
                self._files.get_file(self._at(path), copy)
            except FileNotFoundError as error:
                raise NotFound(f"There is no file {path} in {self.root}.") from error
            yield copy

    def path(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _at(self, path: str) -> str:
        if not path:
            return self._root or "/"
        plain = inside(path)
        if plain is None:
            raise NotFound(f"{path} does not lie in {self.root}.")
        return f"{self._root}/{plain}"
