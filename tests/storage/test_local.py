"""A storage in a folder: links, incomplete files, rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synapse_core.errors import InvalidStorageName, StorageError, StoragePermissionError, UploadError
from synapse_core.storage import Storage, get_storage


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    return folder


@pytest.fixture
def local(base: Path) -> Storage:
    return get_storage({"provider": "file_system", "configuration": {"location": str(base)}})


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("nobody's business")
    return folder


def test_a_link_that_leads_out_is_refused(local: Storage, base: Path, outside: Path, source: Path):
    (base / "folder").symlink_to(outside)
    (base / "file").symlink_to(outside / "secret.txt")

    for ask in (
        lambda: local.read_bytes("folder/secret.txt"),
        lambda: local.read_bytes("file"),
        lambda: local.open("file"),
        lambda: local.exists("file"),
        lambda: local.upload(source, "folder/new"),
        lambda: local.open("folder/new", "w"),
        lambda: local.delete("folder/secret.txt"),
        lambda: local.delete_tree("folder/secret.txt"),
        lambda: local.make_dirs("folder/new"),
        lambda: local.get_pathlib("folder"),
    ):
        with pytest.raises(InvalidStorageName, match="leads out"):
            ask()
    assert list(local.list()) == []
    assert local.entries() == ()
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]


def test_a_link_is_replaced_or_removed_but_what_it_leads_to_stays(local: Storage, base: Path, outside: Path):
    (base / "file").symlink_to(outside / "secret.txt")
    (base / "folder").symlink_to(outside)

    local.write_bytes("file", b"mine")
    local.delete_tree("folder")

    assert local.read_bytes("file") == b"mine"
    assert (outside / "secret.txt").read_text() == "nobody's business"
    assert not (base / "folder").exists()


def test_a_link_that_stays_inside_is_followed(local: Storage, base: Path):
    local.write_bytes("real/a", b"1")
    (base / "link").symlink_to(base / "real")
    (base / "b").symlink_to(base / "real" / "a")
    (base / "real" / "round").symlink_to(base)

    assert local.read_bytes("link/a") == b"1"
    assert local.read_bytes("b") == b"1"
    assert list(local.list()) == [("b", 1), ("real/a", 1)]


def test_a_base_may_be_a_link_itself(tmp_path: Path, outside: Path):
    (tmp_path / "link").symlink_to(outside)
    local = get_storage({"provider": "local", "configuration": {"location": str(tmp_path / "link")}})

    assert local.read_bytes("secret.txt") == b"nobody's business"


def test_what_is_being_written_is_not_seen(local: Storage, base: Path):
    opened = local.open("a.txt", "w")
    opened.write("half")
    opened.flush()

    assert list(local.list()) == []
    assert not local.exists("a.txt")
    opened.close()
    assert local.read_bytes("a.txt") == b"half"
    assert [path.name for path in base.iterdir()] == ["a.txt"]


def test_an_upload_that_fails_leaves_nothing(local: Storage, base: Path, source: Path):
    (base / "taken").mkdir()
    local.write_bytes("file", b"x")

    for name in ("taken", "file/below"):
        with pytest.raises(UploadError):
            local.upload(source, name)

    assert sorted(path.name for path in base.rglob("*")) == ["file", "taken"]


def test_a_pipe_in_a_storage_keeps_nobody_waiting(local: Storage, base: Path):
    os.mkfifo(base / "pipe")

    with pytest.raises(StorageError, match="no file"):
        local.read_bytes("pipe")
    assert list(local.list()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_rights_that_are_missing_are_told(local: Storage, base: Path):
    base.chmod(0o500)

    with pytest.raises(StoragePermissionError):
        local.write_bytes("a", b"1")


def test_files_have_the_usual_rights(local: Storage, base: Path, source: Path):
    umask = os.umask(0o027)
    try:
        local.upload(source, "a")
        local.open("b", "w").close()
    finally:
        os.umask(umask)

    assert {path.stat().st_mode & 0o777 for path in base.iterdir()} == {0o640}


def test_paths_of_other_places_are_not_counted(local: Storage, outside: Path):
    with pytest.raises(InvalidStorageName):
        local.get_path_file_count(outside)
