"""Writing a whole folder, or nothing.

What is written goes into a hidden folder beside the place that was asked for, which gets its name at the
end, in one step. A conversion that is killed leaves such a folder; the next one to the same place removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any, Protocol

from synapse_core.datasets.source import Source, is_url, local_path, open_files
from synapse_core.errors import Conflict, DiskFull, InvalidRequest

_COPY_BYTES = 1 << 16
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Target(Protocol):
    """Where a writer puts its files; paths are below the output, with / between their parts."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file that is not there yet."""
        ...

    def append(self, path: str, data: bytes) -> None:
        """Add to a file, which is made where it is not there. Only where all parts come together."""
        ...

    def place(self, source: Source, image: str, path: str, *, is_linked: bool) -> None:
        """Put an image of the source at `path`: by a hard link, or a copy."""
        ...


class FolderTarget:
    """A local folder that appears, complete, with `finish`."""

    def __init__(self, output: str | Path) -> None:
        """Raises Conflict where something stands at `output`."""
        self.output = local_path(output).absolute()
        self.shown = str(self.output)
        refuse_taken(self.output)
        self.work = str(self.output.parent / f".{self.output.name}.{os.urandom(4).hex()}.partial")
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(self.output)
            Path(self.work).mkdir()
        except OSError as error:
            if disk_full(error, self.shown) is not None:
                raise
            raise InvalidRequest(
                f"Nothing can be written to {output}: {error.strerror}.", hint="Give another output."
            ) from error
        # Held while this process, or a child of it, lives: whoever can take it knows that the folder is
        # abandoned.
        self._lock = os.open(self.work, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._folders: set[str] = {""}
        # The folder of the file that was written last, open: a name in it is found in two thirds of the time.
        self._folder: str | None = None
        self._folder_descriptor: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process, or a child of it, has open."""
        return {**self.__dict__, "_folder": None, "_folder_descriptor": None}

    def write(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        if folder != self._folder:
            self._enter(folder, path)
        descriptor = os.open(name, _NEW_FILE, 0o644, dir_fd=self._folder_descriptor)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def append(self, path: str, data: bytes) -> None:
        self._make_folder(path)
        with open(f"{self.work}/{path}", "ab") as file:
            file.write(data)

    def place(self, source: Source, image: str, path: str, *, is_linked: bool) -> None:
        self._make_folder(path)
        there = f"{self.work}/{path}"
        if is_linked:
            with source.local(image) as file:
                if _link(os.path.realpath(file), there):
                    return
        # File objects take twice the time for small images.
        original = source.descriptor(image)
        try:
            # Never into a file that is there: it may be a hard link to an image of the source.
            copy = os.open(there, _NEW_FILE, 0o666)
            try:
                while data := os.read(original, _COPY_BYTES):
                    _write_all(copy, data)
            finally:
                os.close(copy)
        finally:
            os.close(original)

    def finish(self, last: tuple[str, ...] = ()) -> None:
        """Give the folder its name. Raises Conflict where another one came first.

        last: files that have to come last where that cannot be one step.
        """
        try:
            Path(self.work).rename(self.output)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise Conflict(
                f"{self.output} came into being meanwhile.", hint="Give another output."
            ) from error

    def close(self) -> None:
        """Remove what was written where it was not finished."""
        if os.path.lexists(self.work):
            _remove(self.work)
        if self._folder_descriptor is not None:
            os.close(self._folder_descriptor)
        os.close(self._lock)

    def _enter(self, folder: str, path: str) -> None:
        self._make_folder(path)
        opened = os.open(f"{self.work}/{folder}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._folder_descriptor is not None:
            os.close(self._folder_descriptor)
        self._folder, self._folder_descriptor = folder, opened

    def _make_folder(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            if folder.startswith("/") or ".." in folder.split("/"):
                raise InvalidRequest(f"{path} would lie outside of the output {self.output}.")
            Path(self.work, folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)


class NoTarget:
    """For a dry run: takes everything and keeps nothing."""

    def write(self, path: str, data: bytes) -> None: ...

    def append(self, path: str, data: bytes) -> None: ...

    def place(self, source: Source, image: str, path: str, *, is_linked: bool) -> None: ...


class HeldTarget:
    """Holds the files of one part, for somebody else to write: see `files`."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes]] = []
        self.images: list[tuple[str, str, bool]] = []

    def write(self, path: str, data: bytes) -> None:
        self.files.append((path, data))

    def append(self, path: str, data: bytes) -> None:
        raise AssertionError(f"{path} is put together where all parts come together.")

    def place(self, source: Source, image: str, path: str, *, is_linked: bool) -> None:
        self.images.append((image, path, is_linked))


def refuse_inside(source: Source, output: str | Path) -> None:
    """Raise InvalidRequest where the output would lie in the source's folder."""
    if is_url(output) or is_url(source.root):
        is_inside = f"{output}/".startswith(f"{source.root}/")
    else:
        is_inside = Path(os.path.realpath(local_path(output))).is_relative_to(source.root)
    if source.only is None and is_inside:
        raise InvalidRequest(
            f"The output {output} lies in the dataset that is read, {source.root}.",
            hint="Give an output beside the dataset.",
        )


def refuse_taken(output: str | Path) -> None:
    """Raise Conflict where something stands at `output`."""
    if is_url(output):
        files, root = open_files(str(output))
        is_taken = files.isfile(root) or bool(files.exists(root) and files.ls(root))
    else:
        place = local_path(output)
        is_taken = os.path.lexists(place) and not _is_empty_folder(place)
    if is_taken:
        raise Conflict(
            f"{output} is there already; a conversion never writes over anything.",
            hint="Give another output, or remove it first.",
        )


def disk_full(error: OSError, output: str) -> DiskFull | None:
    """Return the error to raise where a disk had no room, None for any other."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(output, error.strerror)
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _link(file: str, there: str) -> bool:
    """Return True where a hard link was made; False on another disk, or a file system without them."""
    try:
        os.link(file, there)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _remove(folder: str | Path) -> None:
    import shutil  # 8 ms, for what ended too early

    shutil.rmtree(folder, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _remove_abandoned(output: Path) -> None:
    """Remove what a killed conversion to the same place has left."""
    begin, end = f".{output.name}.", ".partial"
    for name in os.listdir(output.parent):  # noqa: PTH208  # names, not paths
        if not (name.startswith(begin) and name.endswith(end) and len(name) == len(begin) + 8 + len(end)):
            continue
        left = output.parent / name
        try:
            descriptor = os.open(left, os.O_RDONLY)
        except OSError:
            continue  # gone, or not ours
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # somebody is writing it
        else:
            _remove(left)
        finally:
            os.close(descriptor)
