"""What somebody may put into a folder: each gets a code, none hangs, nothing outside is taken."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from backend_worlds import RecordingLogger
from upload_worlds import PNG, TRIPS, collection_of, everything, pictures, upload, use_tripping_storage

from synapse_core.actions.upload import BaseUploadAction, UploadContext, UploadParams
from synapse_core.actions.upload.metadata import read_metadata
from synapse_core.backend import FileSpecification
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import InvalidMetadata, StepFailed, UnsafeMetadata
from synapse_core.steps import BaseStep, StepRegistry, StepResult

KEY = b"-----BEGIN OPENSSH PRIVATE" + b" KEY-----\nAAAA"
ANYTHING = FileSpecification(name="things", file_type="data", is_primary=True)


def codes(result: Any) -> dict[str, str]:
    """Return path -> code of what was left out."""
    return {one["path"]: one["code"] for one in result.failed_files}


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_content_that_must_not_be_uploaded_is_left_out(backend: LocalBackend, tmp_path: Path):
    collection = collection_of(backend, ANYTHING)
    folder = tmp_path / "in"
    folder.mkdir()
    token = b"aws = AKIA" + b"ABCDEFGHIJKLMNOP\n"
    unsafe = {
        "run.sh": b"echo",
        "script.dat": b"#!/bin/sh\n",
        "linux.dat": b"\x7fELF" + b"\0" * 60,
        "windows.dat": b"MZ" + b"\0" * 58 + (64).to_bytes(4, "little") + b"PE\0\0",
        "page.png": PNG + b"<?php system('id'); ?>",
        "drawing.svg": b"<svg><SCRIPT >alert(1)</SCRIPT></svg>",
        "text.png": b"this is no picture",
        "photo.jpg": PNG,
        "key.txt": KEY,
        "hidden.png": PNG + b"\0" * 100 + KEY,
        "late.bin": b"\0" * 300_000 + KEY + b"\0" * 3_000_000,
        "token.ini": token,
        "slip.zip": zipped(**{"../../etc/cron.d/x": b"x"}),
        "torn.zip": zipped(a=b"x")[:-30],
        "tool.zip.exe": b"data",
    }
    fine = {
        "fine.png": PNG + b"1",
        "mzone.txt": b"MZ is a zone",
        "good.zip": zipped(a=b"x"),
        "k.csv": b"PRIVATE KEY",
    }
    for name, content in {**unsafe, **fine}.items():
        (folder / name).write_bytes(content)
    (folder / "empty.png").touch()

    result = upload(backend, folder, data_collection=collection.id)

    assert codes(result) == {**dict.fromkeys(unsafe, "UNSAFE_CONTENT"), "empty.png": "FILE_CORRUPTED"}
    assert {unit.files["things"].name for unit in backend.list_data_units()} == set(fine)


def test_what_is_no_file_of_the_folder_is_left_out_and_never_opened(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outside = tmp_path / "outside"
    pictures(outside, 2)
    folder = pictures(tmp_path / "in", 2)
    (folder / "out.png").symlink_to(outside / "0000.png")
    (folder / "out_folder").symlink_to(outside)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "dangling.png").symlink_to("nothing.png")
    (folder / "inside.png").symlink_to("0000.png")
    (folder / "itself").symlink_to(".")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(folder)  # a socket's path may have 107 bytes
        listening.bind("socket.png")
        result = upload(backend, folder)

    # What a link inside the folder leads to is there twice.
    assert (result.data_units, result.skipped_duplicates) == (2, 1)
    refused = {path: code for path, code in codes(result).items() if code != "DUPLICATE_FILE"}
    assert refused == {
        "out.png": "UNSAFE_CONTENT",
        "out_folder": "UNSAFE_CONTENT",
        "device.png": "UNSAFE_CONTENT",
        "pipe.png": "UNSAFE_CONTENT",
        "socket.png": "UNSAFE_CONTENT",
        "loop.png": "FILE_LOCKED",
        "dangling.png": "FILE_LOCKED",
    }


def test_names_that_no_name_should_be_are_left_out(backend: LocalBackend, tmp_path: Path):
    folder = pictures(tmp_path / "in", 1)
    for name in (b"line\nbreak.png", b"\x1b[31mred.png", b"half\xff.png", "gnp.\u202eexe.png".encode()):
        (folder / os.fsdecode(name)).write_bytes(PNG)
    (folder / "wide\u3000space ' \" ; $(x).png").write_bytes(PNG + b"2")
    logger = RecordingLogger()

    result = upload(backend, folder, logger=logger)

    assert result.data_units == 2
    assert codes(result) == {
        "line\\nbreak.png": "UNSAFE_CONTENT",
        "\\x1b[31mred.png": "UNSAFE_CONTENT",
        "half\\udcff.png": "UNSAFE_CONTENT",
        "gnp.\\u202eexe.png": "UNSAFE_CONTENT",
    }
    assert "\x1b" not in repr(logger.events)


def test_a_specification_cannot_lead_out_of_the_folder(backend: LocalBackend, tmp_path: Path):
    pictures(tmp_path / "secret", 1)
    pictures(tmp_path / "in", 1, first=5)
    collection = collection_of(backend, FileSpecification(name="../secret", is_primary=True))

    upload(backend, tmp_path / "in", data_collection=collection.id)

    assert [unit.meta["origin_file_stem"] for unit in backend.list_data_units()] == ["0005"]


def test_a_sparse_file_of_10_gb_is_refused_by_its_size(backend: LocalBackend, tmp_path: Path):
    folder = pictures(tmp_path / "in", 1)
    for name in ("huge.png", "meta.csv"):
        with open(folder / name, "wb") as content:
            content.truncate(10 << 30)

    with pytest.raises(StepFailed, match=r"meta\.csv was not read: it has 10,737,418,240 bytes"):
        upload(backend, folder)
    (folder / "meta.csv").unlink()
    result = upload(backend, folder)

    assert (result.data_units, codes(result)) == (1, {"huge.png": "FILE_TOO_LARGE"})


class Meanwhile(BaseStep[UploadContext]):
    """Does something to the folder after its files were looked at."""

    name = "meanwhile"
    progress_weight = 0.0

    def __init__(self, does: Any) -> None:
        self.does = does

    def execute(self, context: UploadContext) -> StepResult:
        self.does()
        return StepResult()


@pytest.mark.parametrize("before", ["generate_data_units", "upload_files"])
@pytest.mark.parametrize("size_bytes", [1_000, 200_000])
def test_files_that_change_after_they_were_looked_at_are_lost(
    backend: LocalBackend, tmp_path: Path, size_bytes: int, before: str
):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG + b"secret" * 40_000)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("kept", "grows", "swapped", "gone", "linked", "piped"):
        (folder / f"{name}.png").write_bytes(PNG + name.encode().ljust(size_bytes, b"."))

    def change() -> None:
        with open(folder / "grows.png", "ab") as content:
            content.write(b"more")
        stamp = (folder / "swapped.png").stat().st_mtime_ns
        (folder / "swapped.png").write_bytes(PNG + b"other".ljust(size_bytes, b"!"))
        os.utime(folder / "swapped.png", ns=(stamp, stamp))
        (folder / "gone.png").unlink()
        (folder / "linked.png").unlink()
        (folder / "linked.png").symlink_to(secret)
        (folder / "piped.png").unlink()
        os.mkfifo(folder / "piped.png")

    class Upload(BaseUploadAction[UploadParams]):
        def setup_steps(self, registry: StepRegistry[UploadContext]) -> None:
            super().setup_steps(registry)
            registry.insert_before(before, Meanwhile(change))

    result = upload(backend, folder, Upload)

    stored = [content for content in everything(backend)["default"].values() if content is not None]
    lost = {one["path"] for one in result.failed_files if one["code"] == "FILE_CORRUPTED"}
    assert {"grows.png", "gone.png", "linked.png", "piped.png"} <= lost
    assert not any(b"secret" in content or b"more" in content for content in stored)
    # What has the size and the time of the former file is seen by its content, once that was read.
    if size_bytes < 2_000 or before == "upload_files":
        assert "swapped.png" in lost
        assert (result.data_units, len(stored)) == (1, 1)


def test_a_file_that_changes_while_it_is_sent_is_taken_back(backend: LocalBackend, tmp_path: Path):
    location = tmp_path / "stored"
    storage = use_tripping_storage(backend, location)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG + b"a" * 200_000)
    (folder / "b.png").write_bytes(PNG + b"b" * 200_000)

    def trip(called: str, name: str) -> None:
        if called == "upload":
            with open(folder / "a.png", "r+b") as content:
                content.write(PNG + b"A")

    TRIPS[str(location)] = trip
    result = upload(backend, folder, storage=storage, upload_max_workers=1)
    TRIPS.clear()

    assert (result.data_units, result.lost_files) == (1, ["a.png"])
    assert len([path for path in location.rglob("*") if path.is_file()]) == 1


# Tables of metadata


def workbook(path: Path, *rows: list[Any]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def rewritten(path: Path, change: Any) -> Path:
    """Change the members of a workbook: change(name, data) -> (name, data)."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(*change(name, data))
    return path


HEAD = ["filename", "a"]
CSV = "filename,a\n"
UNSAFE_TABLES = {
    "rows.csv": CSV + "x,1\n" * 100_001,
    "columns.csv": "filename" + ",c" * 301 + "\n",
    "value.csv": CSV + "x," + "v" * 1001 + "\n",
    "name.csv": CSV + "x" * 256 + ",1\n",
    "header.csv": "filename," + "h" * 101 + "\n",
    "field.csv": CSV + "x," + "v" * 200_000 + "\n",
    "size.csv": CSV + "x,1\n" * 3_000_000,
}


@pytest.mark.parametrize("name", UNSAFE_TABLES)
def test_a_table_beyond_the_limits_is_not_read(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text(UNSAFE_TABLES[name])

    with pytest.raises(UnsafeMetadata):
        read_metadata(path)


def test_a_workbook_that_is_a_bomb_is_not_unpacked(tmp_path: Path):
    path = workbook(tmp_path / "meta.xlsx", HEAD, ["x", "1"])
    big = b" " * (31 << 20)

    def inflate(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data.replace(b"</row>", b"</row>" + big, 1) if name.startswith(
            "xl/worksheets/"
        ) else data

    rewritten(path, inflate)
    assert path.stat().st_size < 200_000
    with pytest.raises(UnsafeMetadata, match="is a bomb"):
        read_metadata(path)

    path = workbook(tmp_path / "text.xlsx", HEAD, ["x", "1"])
    rewritten(
        path,
        lambda name, data: (
            (name, data + os.urandom(16) * (2 << 20)) if "docProps/app" in name else (name, data)
        ),
    )
    with pytest.raises(UnsafeMetadata, match="has 33,"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("leads out of its folder", lambda name, data: (f"../{name}" if "theme" in name else name, data)),
        (
            "a document type",
            lambda name, data: (name, b'<!DOCTYPE x [<!ENTITY a "b">]>' + data if "sheet1" in name else data),
        ),
        (
            "not in UTF-8",
            lambda name, data: (name, data.decode().encode("utf-16") if "sheet1" in name else data),
        ),
        (
            "more than 100,000 rows",
            lambda name, data: (name, data.replace(b'r="2"', b'r="1048576"')),
        ),
        (
            "more than 300 columns",
            lambda name, data: (name, data.replace(b'r="B2"', b'r="KO2"')),
        ),
    ],
)
def test_a_workbook_made_to_do_harm_is_not_read(tmp_path: Path, words: str, change: Any):
    path = rewritten(workbook(tmp_path / "meta.xlsx", HEAD, ["x", 1], ["y", 2]), change)

    with pytest.raises(UnsafeMetadata, match=words):
        read_metadata(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta.csv", b"\xff\xfea\0"),
        ("meta.csv", b""),
        ("meta.csv", b"filename\nx\n"),
        ("meta.csv", b'filename,a\n"x,1\n'),
        ("meta.xls", b"\xd0\xcf\x11\xe0"),
        ("meta.xlsx", zipped(a=b"x")),
    ],
)
def test_a_table_that_is_none_says_so(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InvalidMetadata):
        read_metadata(tmp_path / name)


def test_a_pipe_for_metadata_keeps_nobody_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "meta.csv")

    with pytest.raises(InvalidMetadata, match="is no file"):
        read_metadata(tmp_path / "meta.csv")


def test_metadata_that_is_unsafe_ends_the_upload_before_anything_is_stored(
    backend: LocalBackend, tmp_path: Path
):
    backend.open_storage()
    before = everything(backend)
    folder = pictures(tmp_path / "in", 3)
    (folder / "meta.csv").write_text(UNSAFE_TABLES["columns.csv"])

    with pytest.raises(StepFailed, match="more than 300 columns"):
        upload(backend, folder)

    assert everything(backend) == before
