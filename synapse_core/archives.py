"""Folders as one file, and back: archives that are the same for the same content, and safe unpacking.

An archive is a zip whose entries are not compressed: weights hardly shrink, and the same folder gives the
same bytes on every machine, whatever compressor it has. Unpacking takes compressed ones too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synapse_core.errors import ArchiveError, NotFound

MOST_FILES = 100_000
MOST_BYTES = 8 << 30
# Above this size, content that shrank more than this is taken for a bomb.
_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 200
_COPY_BYTES = 1 << 20
_MOST_NAME_BYTES = 255
_EPOCH = (1980, 1, 1, 0, 0, 0)
# What the end of a zip begins with, and what an entry of its list has at least.
_END, _END64, _LEAST_ENTRY_BYTES = b"PK\x05\x06", b"PK\x06\x06", 46


@dataclass(frozen=True)
class Archive:
    """An archive that was made. sha256: of the file. files: how many it holds."""

    path: Path
    sha256: str
    size_bytes: int
    files: int


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack_folder(
    folder: str | Path,
    target: str | Path,
    *,
    exclude: Callable[[str], bool] | None = None,
    most_bytes: int = MOST_BYTES,
    most_files: int = MOST_FILES,
) -> Archive:
    """Write a folder into the zip `target`, which appears whole or not at all.

    exclude: called with each path below the folder, POSIX, folders with a slash at their end; True leaves it
    out. Links to files inside the folder are packed as the files; dates and owners are left out.

    Raises NotFound where there is no such folder; ArchiveError, before a file is read, where it is too
    large, and for links out of it and what is neither file nor folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotFound(f"There is no folder {root} to pack.")
    target = Path(target)
    entries = []
    size = 0
    for name, path in _walk(root, exclude or (lambda _name: False)):
        entries.append((name, path))
        size += 0 if name.endswith("/") else path.stat().st_size
        if len(entries) > most_files or size > most_bytes:
            raise ArchiveError(
                f"{root} is too large to be packed: it has more than {most_files:,} files or more than "
                f"{most_bytes:,} bytes; {name} was the last that was looked at.",
                {"most_files": most_files, "most_bytes": most_bytes, "last": name},
                hint="Pack only the files that are needed.",
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with zipfile.ZipFile(work, "x", zipfile.ZIP_STORED) as written:
            for name, path in sorted(entries):
                _add(written, name, path)
        work.replace(target)
    finally:
        work.unlink(missing_ok=True)
    files = sum(not name.endswith("/") for name, _ in entries)
    return Archive(target, sha256_of(target), target.stat().st_size, files)


def unpack(
    archive: str | Path, folder: str | Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES
) -> int:
    """Unpack a zip into `folder`, which appears whole or not at all. Returns the number of files.

    Everything is looked at before anything is written. Raises NotFound where there is no such archive;
    ArchiveError for what is no zip or is damaged, for names that lead elsewhere or come twice, for links,
    and for more files or bytes than allowed; also where something stands at `folder`.
    """
    source, target = Path(archive), Path(folder)
    if not source.is_file():
        raise NotFound(f"There is no archive {source}.")
    if os.path.lexists(target):
        raise ArchiveError(f"{target} is there already; an archive is unpacked into a new folder only.")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        _refuse_long_list(source, most_files)
        with zipfile.ZipFile(source) as opened:
            entries = opened.infolist()
            _check(source, entries, most_files, most_bytes)
            work.mkdir(mode=0o755)
            for entry in entries:
                _extract(opened, entry, work)
        work.rename(target)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error) as error:
        raise ArchiveError(
            f"{source.name} cannot be unpacked: {error or type(error).__name__}.",
            hint="It is damaged, or no zip. Make it again.",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return sum(not entry.is_dir() for entry in entries)


def _walk(root: Path, exclude: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    """Yield (name, path) of every file and every empty folder below `root`."""
    base = root.resolve()
    folders = [""]
    while folders:
        folder = folders.pop()
        is_empty = True
        with os.scandir(root / folder) as listed:
            found = list(listed)
        for entry in found:
            name = folder + entry.name
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if not exclude(f"{name}/"):
                    folders.append(f"{name}/")
                is_empty = False
                continue
            if exclude(name):
                continue
            is_empty = False
            if entry.is_symlink() and not path.resolve().is_relative_to(base):
                raise ArchiveError(
                    f"{name} in {root} is a link that leads out of the folder; it is not packed.",
                    {"name": name},
                    hint="Put the file itself there, or remove the link.",
                )
            if not entry.is_file():
                what = "a link to a folder or to nothing" if entry.is_symlink() else "neither file nor folder"
                raise ArchiveError(f"{name} in {root} is {what}; it cannot be packed.", {"name": name})
            yield name, path
        if is_empty and folder:
            yield folder, root / folder


def _add(written: zipfile.ZipFile, name: str, path: Path) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, wherever it is packed, so that the mode is understood
    if name.endswith("/"):
        info.external_attr = (stat.S_IFDIR | 0o755) << 16
        written.writestr(info, b"")
        return
    status = path.stat()
    info.external_attr = (stat.S_IFREG | (0o755 if status.st_mode & 0o100 else 0o644)) << 16
    info.file_size = status.st_size
    with open(path, "rb") as file, written.open(info, "w") as entry:
        left = status.st_size
        while left and (data := file.read(min(left, _COPY_BYTES))):
            entry.write(data)
            left -= len(data)
        if left or file.read(1):
            raise ArchiveError(f"{path} changed while it was packed.", hint="Pack it once it is finished.")


def _refuse_long_list(source: Path, most_files: int) -> None:
    """Raise ArchiveError where the list of entries is too long to be read into memory.

    The list is read by its length in bytes, not by the number of entries that is told.
    """
    with open(source, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 66_000))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile("it is no zip")
    length = struct.unpack_from("<L", tail, end + 12)[0]
    end64 = tail.rfind(_END64, 0, end)
    if end64 >= 0 and len(tail) >= end64 + 56:
        length = max(length if length != 0xFFFFFFFF else 0, struct.unpack_from("<Q", tail, end64 + 40)[0])
    # Eight times: names are longer than nothing, and the entries are counted below.
    if length > most_files * _LEAST_ENTRY_BYTES * 8:
        raise _too_much(source, f"its list of entries takes {length:,} bytes", most_files)


def _check(source: Path, entries: list[zipfile.ZipInfo], most_files: int, most_bytes: int) -> None:
    """Raise ArchiveError where an entry must not be written, or all of them are too much."""
    if len(entries) > most_files:
        raise _too_much(source, f"it has {len(entries):,} entries", most_files)
    size = sum(entry.file_size for entry in entries)
    if size > most_bytes:
        raise _too_much(source, f"unpacked it takes {size:,} bytes", most_bytes)
    if size > _BOMB_BYTES and size > _BOMB_RATIO * source.stat().st_size:
        raise _too_much(source, f"{size:,} bytes are in {source.stat().st_size:,}", _BOMB_BYTES)
    taken: set[str] = set()
    for entry in entries:
        problem = _problem(entry)
        name = entry.filename.rstrip("/")
        if problem is None and name in taken:
            problem = "comes twice"
        if problem is not None:
            raise ArchiveError(
                f"{source.name} is not unpacked: the entry {entry.filename[:100]!r} {problem}.",
                {"entry": entry.filename[:200]},
                hint="Do not use this archive unless you know who made it; make it again from its folder.",
            )
        taken.add(name)


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Return why an entry must not be written, None where it may."""
    # zipfile cuts a name at its first NUL; the original shows it.
    name = entry.orig_filename
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return "has an absolute name"
    if "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "has a backslash or a control character in its name"
    if any(part in ("", ".", "..") for part in parts):
        return "has a name that leads elsewhere"
    if any(len(os.fsencode(part)) > _MOST_NAME_BYTES for part in parts):
        return "has a name that is too long"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flag_bits & 1:
        return "is encrypted"
    return None


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, work: Path) -> None:
    path = work / entry.filename
    try:
        if entry.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o755 if entry.external_attr >> 16 & 0o100 else 0o644
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArchiveError(f"{entry.filename!r} is both a file and a folder in this archive.") from error
    # What an entry says of its size is where reading it ends, so that it cannot be more.
    with os.fdopen(descriptor, "wb") as file, opened.open(entry) as data:
        shutil.copyfileobj(data, file, _COPY_BYTES)


def _too_much(source: Path, what: str, most: int) -> ArchiveError:
    return ArchiveError(
        f"{source.name} is not unpacked: {what}; the limit is {most:,}.",
        {"limit": most},
        hint="Make an archive of only what is needed.",
    )
