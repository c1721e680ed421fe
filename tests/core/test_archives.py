"""Archives: the same folder gives the same bytes, and nothing that is unpacked leaves its folder."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from synapse_core.archives import pack_folder, sha256_of, unpack
from synapse_core.errors import ArchiveError, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "weights").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "weights/best.pt").write_bytes(bytes(range(256)) * 40)
    (root / "ünï.txt").write_text("a b")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o700)
    (root / "latest.pt").symlink_to("weights/best.pt")
    return root


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def test_a_folder_comes_back_as_it_was(folder: Path, tmp_path: Path):
    packed = pack_folder(folder, tmp_path / "model.zip")
    files = unpack(packed.path, tmp_path / "again")

    assert files == packed.files == 4
    assert contents(tmp_path / "again") == contents(folder)
    assert (tmp_path / "again/run.sh").stat().st_mode & 0o100
    assert not (tmp_path / "again/latest.pt").is_symlink()
    assert (packed.sha256, packed.size_bytes) == (sha256_of(packed.path), packed.path.stat().st_size)


def test_the_same_content_gives_the_same_bytes(folder: Path, tmp_path: Path):
    first = pack_folder(folder, tmp_path / "first.zip")
    # Written anew in another order and at another time.
    for name, data in sorted(contents(folder).items(), reverse=True):
        path = tmp_path / "copy" / name
        path.mkdir(parents=True, exist_ok=True) if data is None else path.parent.mkdir(
            parents=True, exist_ok=True
        )
        if data is not None:
            path.write_bytes(data)
            os.utime(path, (1, 1))
    (tmp_path / "copy/run.sh").chmod(0o755)
    second = pack_folder(tmp_path / "copy", tmp_path / "second.zip")

    assert first.sha256 == second.sha256
    (tmp_path / "copy/run.sh").write_text("#!/bin/bash\n")
    assert pack_folder(tmp_path / "copy", tmp_path / "third.zip").sha256 != first.sha256


def test_what_is_excluded_is_left_out(folder: Path, tmp_path: Path):
    packed = pack_folder(
        folder, tmp_path / "model.zip", exclude=lambda name: name in ("weights/", "latest.pt")
    )

    assert zipfile.ZipFile(packed.path).namelist() == ["empty/", "run.sh", "ünï.txt"]


def test_a_large_sparse_file_is_refused_before_it_is_read(folder: Path, tmp_path: Path):
    with open(folder / "huge.bin", "wb") as file:
        file.truncate(10 << 30)

    with pytest.raises(ArchiveError, match="too large"):
        pack_folder(folder, tmp_path / "model.zip")
    assert not list(tmp_path.glob("*model.zip*"))


def test_links_out_and_pipes_are_not_packed(folder: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ArchiveError, match="leads out"):
        pack_folder(folder, tmp_path / "model.zip")

    (folder / "link").unlink()
    os.mkfifo(folder / "link")
    with pytest.raises(ArchiveError, match="neither file nor folder"):
        pack_folder(folder, tmp_path / "model.zip")
    assert not list(tmp_path.glob("*model.zip*"))


def test_too_many_files_are_refused_both_ways(folder: Path, tmp_path: Path):
    packed = pack_folder(folder, tmp_path / "model.zip")

    with pytest.raises(ArchiveError, match="too large"):
        pack_folder(folder, tmp_path / "other.zip", most_files=3)
    with pytest.raises(ArchiveError, match="5 entries"):
        unpack(packed.path, tmp_path / "again", most_files=4)
    with pytest.raises(ArchiveError, match="bytes; the limit is 9"):
        unpack(packed.path, tmp_path / "again", most_bytes=9)


def _named(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as written:
            for name in names:
                info = zipfile.ZipInfo("x")
                info.filename = info.orig_filename = name
                written.writestr(info, b"x")

    return make


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as written:
        info = zipfile.ZipInfo("link")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        written.writestr(info, b"/etc/passwd")
        written.writestr("link/x", b"x")


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for index in range(3):
            with written.open(f"{index}.bin", "w") as entry:
                for _ in range(100):
                    entry.write(bytes(1 << 20))


def _liar(path: Path) -> None:
    """An entry that says that it is small, and is not."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("a.bin", bytes(1 << 20))
    data = path.read_bytes().replace(struct.pack("<L", 1 << 20), struct.pack("<L", 10))
    path.write_bytes(data)


def _encrypted(path: Path) -> None:
    _named("a")(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def _long_list(path: Path) -> None:
    """An archive whose list of entries would take a gigabyte."""
    with open(path, "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 30)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 1 << 30, 0, 0))


def _damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("a.bin", b"0123456789")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))


HOSTILE = {
    "a name that goes up": (_named("../evil"), "leads elsewhere"),
    "a name that goes up later": (_named("a/../../evil"), "leads elsewhere"),
    "an absolute name": (_named("/evil"), "absolute"),
    "a drive": (_named("C:evil"), "absolute"),
    "a backslash": (_named("..\\evil"), "backslash"),
    "a control character": (_named("a\x1b[2Jb"), "control character"),
    "a NUL": (_named("evil\x00.png"), "control character"),
    "an empty part": (_named("a//b"), "leads elsewhere"),
    "a long name": (_named("a" * 256), "too long"),
    "the same name twice": (_named("a", "a"), "comes twice"),
    "a file that is a folder": (_named("a", "a/b"), "both a file and a folder"),
    "a link": (_link, "link or a special file"),
    "a bomb": (_bomb, "is not unpacked"),
    "a size that is not true": (_liar, "cannot be unpacked"),
    "a password": (_encrypted, "encrypted"),
    "an endless list": (_long_list, "list of entries"),
    "damage": (_damaged, "cannot be unpacked"),
    "no zip": (lambda path: path.write_bytes(b"hello" * 9), "no zip"),
    "nothing": (lambda path: path.write_bytes(b""), "no zip"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_writes_nothing(what: str, tmp_path: Path):
    make, words = HOSTILE[what]
    (tmp_path / "inside").mkdir()
    make(tmp_path / "inside/evil.zip")

    with pytest.raises(ArchiveError, match=words):
        unpack(tmp_path / "inside/evil.zip", tmp_path / "inside/out")

    left = [path.name for path in tmp_path.rglob("*") if path.name != "home"]
    assert sorted(left) == ["evil.zip", "inside"]


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(NotFound):
        unpack(tmp_path / "none.zip", tmp_path / "out")
    with pytest.raises(NotFound):
        pack_folder(tmp_path / "none", tmp_path / "out.zip")


def test_nothing_is_unpacked_over_anything(folder: Path, tmp_path: Path):
    packed = pack_folder(folder, tmp_path / "model.zip")

    with pytest.raises(ArchiveError, match="is there already"):
        unpack(packed.path, folder)
