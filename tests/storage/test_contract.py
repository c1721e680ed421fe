"""What every storage does, whatever is behind it."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synapse_core.errors import (
    CapabilityError,
    InvalidStorageName,
    StorageNotFound,
    UploadError,
)
from synapse_core.storage import Storage, StoragePath

# Names with signs that mean something in a URL, in a pattern, or to a shell.
UNUSUAL = [
    "with space.txt",
    "100%.txt",
    "%2e%2e/x.txt",
    "a#b?c=d&e.txt",
    "[x]*.txt",
    "über/größe.txt",
    "日本/語.json",
    "a::b.txt",
    "quote'\"<>|.txt",
    "~/x",
    "-rf",
    ".hidden",
    "x" * 200,
]


def test_what_is_uploaded_comes_back(storage: Storage, source: Path, tmp_path: Path):
    url = storage.upload(source, "deep/er/file.bin")

    assert storage.name_of(url) == "deep/er/file.bin"
    assert url == storage.get_url("deep/er/file.bin")
    assert storage.exists("deep/er/file.bin")
    assert storage.read_bytes("deep/er/file.bin") == source.read_bytes()
    copy = storage.download("deep/er/file.bin", tmp_path / "new" / "copy.bin")
    assert copy.read_bytes() == source.read_bytes()
    assert list(copy.parent.iterdir()) == [copy]


def test_an_unusual_name_is_only_a_name(storage: Storage):
    for name in UNUSUAL:
        url = storage.write_bytes(name, b"here")

        assert storage.name_of(url) == name
        assert storage.read_bytes(name) == b"here"
    if storage.capabilities.lists:
        assert list(storage.list()) == [(name, 4) for name in sorted(UNUSUAL)]
    for name in UNUSUAL:
        storage.delete(name)
        assert not storage.exists(name)


def test_a_second_upload_takes_the_place_of_the_first(storage: Storage, source: Path):
    storage.write_bytes("a/b.bin", b"much longer than what comes after it")

    storage.upload(source, "a/b.bin")

    assert storage.read_bytes("a/b.bin") == source.read_bytes()


def test_an_empty_file_is_a_file(storage: Storage):
    storage.write_bytes("empty", b"")

    assert storage.exists("empty")
    assert storage.read_bytes("empty") == b""


def test_a_file_of_many_parts_arrives_whole(storage: Storage, tmp_path: Path):
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(1 << 20) * 17 + b"end")

    storage.upload(big, "big.bin", sha256=_sha256(big))

    assert _sha256(storage.download("big.bin", tmp_path / "back.bin")) == _sha256(big)
    with storage.open("big.bin") as opened:
        opened.seek(-3, os.SEEK_END)
        assert opened.read() == b"end"
        opened.seek(0)
        assert opened.read(4) == big.read_bytes()[:4]


def test_a_source_that_is_not_what_it_should_be_is_not_stored(storage: Storage, source: Path):
    with pytest.raises(UploadError, match="SHA-256"):
        storage.upload(source, "a.bin", sha256="0" * 64)

    assert not storage.exists("a.bin")


def test_only_a_file_can_be_uploaded(storage: Storage, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for kind in ("missing", "folder", "pipe"):
        with pytest.raises(UploadError, match=kind):
            storage.upload(tmp_path / kind, "a.bin")

    assert not storage.exists("a.bin")


def test_what_is_not_there_is_not_found(storage: Storage, tmp_path: Path):
    assert not storage.exists("nothing")
    for ask in (
        lambda: storage.read_bytes("nothing"),
        lambda: storage.download("nothing", tmp_path / "copy"),
        lambda: storage.open("nothing").read(),
        lambda: storage.delete("nothing"),
    ):
        with pytest.raises(StorageNotFound, match="nothing"):
            ask()
    storage.delete("nothing", missing_ok=True)
    assert not (tmp_path / "copy").exists()


def test_a_file_can_be_written_and_read_as_text(storage: Storage):
    with storage.open("notes/a.txt", "w") as opened:
        opened.write("größer\n")
        opened.write("zwei\n")

    with storage.open("notes/a.txt", "r") as opened:
        assert list(opened) == ["größer\n", "zwei\n"]


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_whose_writing_fails_is_not_there(storage: Storage, mode: str, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage.write_bytes("a/old", b"as it was")
    before = set(tmp_path.iterdir())

    for name in ("a/new", "a/old"):
        with pytest.raises(ZeroDivisionError), storage.open(name, mode) as opened:
            opened.write("half" if mode == "w" else b"half")
            raise ZeroDivisionError
    abandoned = storage.open("a/new", mode)
    abandoned.write("half" if mode == "w" else b"half")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as any file has that is not closed
        del abandoned
        gc.collect()

    assert not storage.exists("a/new")
    assert storage.read_bytes("a/old") == b"as it was"
    assert set(tmp_path.iterdir()) == before
    if storage.is_local:
        assert [path.name for path in storage.get_pathlib("a").iterdir()] == ["old"]


def test_ten_threads_upload_at_once(storage: Storage, tmp_path: Path):
    sources = [tmp_path / f"{number}.bin" for number in range(40)]
    for number, path in enumerate(sources):
        path.write_bytes(f"<{number}>".encode() * (number + 1))

    with ThreadPoolExecutor(10) as threads:
        urls = list(threads.map(lambda path: storage.upload(path, f"many/{path.name}"), sources))

    assert len(set(urls)) == 40
    assert [storage.read_bytes(storage.name_of(url)) for url in urls] == [
        path.read_bytes() for path in sources
    ]


def test_a_storage_can_be_sent_to_another_process(storage: Storage):
    storage.write_bytes("a.bin", b"1")

    with pickle.loads(pickle.dumps(storage)) as copy:
        assert copy.base_url == storage.base_url
        assert copy.read_bytes("a.bin") == b"1"


def test_a_storage_can_be_used_after_it_was_closed(storage: Storage):
    storage.write_bytes("a.bin", b"1")

    storage.close()

    assert storage.read_bytes("a.bin") == b"1"


# Names that lead out


HOSTILE = [
    "",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "/etc/passwd",
    "//host/x",
    "C:/x",
    "..\\x",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\r\nHost: evil",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\ud800b",
    "http://evil.example/x",
    "file:///etc/passwd",
    "x" * 300,
    "y/" * 600 + "y",
    ".synapse-part-x",
    None,
    7,
]


def test_a_name_that_is_none_is_refused_everywhere(storage: Storage, source: Path, tmp_path: Path):
    for name in HOSTILE:
        asks = [
            lambda name: storage.upload(source, name),
            lambda name: storage.write_bytes(name, b"x"),
            storage.open,
            lambda name: storage.open(name, "w"),
            storage.read_bytes,
            lambda name: storage.download(name, tmp_path / "copy"),
            storage.delete,
            storage.delete_tree,
        ]
        # The base, and a folder, may be asked for.
        if name not in ("", "a/"):
            asks += [storage.exists, storage.make_dirs, storage.get_url, storage.get_pathlib]
        for ask in asks:
            if name == "a/" and ask == storage.delete_tree:
                continue
            with pytest.raises(InvalidStorageName) as caught:
                ask(name)
            assert str(caught.value).isprintable()


def test_a_url_of_another_place_has_no_name_here(storage: Storage):
    base = storage.base_url
    for url in (
        "http://evil.example/a.bin",
        base.rstrip("/") + "-not/a.bin",
        base.rstrip("/") + "@evil.example/a.bin",
        base,
        base + "../a.bin",
        base + "a/../../b.bin",
        base + "/etc/passwd",
        None,
    ):
        with pytest.raises(InvalidStorageName):
            storage.name_of(url)
    if base.startswith(("file:", "http:", "sftp:")):
        for rest in ("%2e%2e/a.bin", "a.bin?x=1", "a.bin#x", "%00", "%ff"):
            with pytest.raises(InvalidStorageName):
                storage.name_of(base + rest)


# Folders


def test_files_are_listed_by_name_with_their_sizes(listing: Storage):
    for name in ("b/2.txt", "b.txt", "a/z/1.txt", "a.b/3.txt", "a/0.txt", "labels(1)/x", "labels/y"):
        listing.write_bytes(name, name.encode())

    found = list(listing.list())

    assert found == [(name, len(name)) for name in sorted(name for name, _ in found)]
    assert len(found) == 7
    assert list(listing.list("labels")) == [("labels/y", 8)]
    assert list(listing.list("labels/")) == [("labels/y", 8)]
    assert list(listing.list("b.txt")) == [("b.txt", 5)]
    assert list(listing.list("nothing")) == []
    assert [(entry.name, entry.is_folder) for entry in listing.entries("a")] == [
        ("a/0.txt", False),
        ("a/z", True),
    ]


def test_counts_and_sizes_are_those_of_the_files_below(listing: Storage):
    listing.write_bytes("in/a", b"12")
    listing.write_bytes("in/deep/b", b"345")
    listing.write_bytes("out", b"6")

    assert (listing.get_path_file_count("in"), listing.get_path_total_size("in")) == (2, 5)
    assert (listing.get_path_file_count(), listing.get_path_total_size("/")) == (3, 6)
    path = listing.get_pathlib("in")
    assert (listing.get_path_file_count(path), listing.get_path_total_size(path)) == (2, 5)


def test_deleting_a_folder_leaves_its_neighbours(listing: Storage):
    for name in ("run/a", "run/deep/b", "run(1)/c", "run-2", "other/run/d"):
        listing.write_bytes(name, b"x")

    listing.delete_tree("run")
    listing.delete_tree("run-2")
    listing.delete_tree("nothing")

    assert [name for name, _ in listing.list()] == ["other/run/d", "run(1)/c"]
    assert not listing.exists("run")
    with pytest.raises(InvalidStorageName):
        listing.delete_tree("")


def test_names_with_signs_of_patterns_are_no_patterns(listing: Storage):
    for name in ("a1/x", "a*/x", "a[1]/x"):
        listing.write_bytes(name, b"x")

    listing.delete("a*/x")
    listing.delete_tree("a[1]")

    assert [name for name, _ in listing.list()] == ["a1/x"]


def test_a_folder_is_there_with_its_files(listing: Storage):
    listing.make_dirs("one/two")
    listing.make_dirs("one/two")
    listing.write_bytes("one/two/x", b"1")

    assert listing.exists("one")
    assert listing.exists("one/two")
    with (
        pytest.raises(StorageNotFound) if not listing.capabilities.makes_folders else pytest.raises(Exception)
    ):
        listing.delete("one")
    assert listing.exists("one/two/x")


def test_folders_that_hold_nothing_are_deleted_up_to_the_first_that_does(listing: Storage):
    listing.write_bytes("a/kept.txt", b"1")
    for name in ("a/b/c/gone.txt", "d/gone.txt"):
        listing.write_bytes(name, b"1")
        listing.delete(name)
        listing.delete_empty_folders(name.rpartition("/")[0])
    listing.delete_empty_folders("never/was")
    listing.delete_empty_folders("a")

    assert [entry.name for entry in listing.entries()] == ["a"]
    assert [entry.name for entry in listing.entries("a")] == ["a/kept.txt"]


def test_a_path_works_as_paths_do(listing: Storage):
    root = listing.get_pathlib("exports")
    folder = root / "name" / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1.json").write_text("{}")
    (folder / "2.txt").write_bytes(b"12")
    with (folder / "3.json").open("w") as opened:
        opened.write("[]")

    assert [path.name for path in sorted(root.rglob("*.json"))] == ["1.json", "3.json"]
    assert sorted(path.name for path in folder.iterdir()) == ["1.json", "2.txt", "3.json"]
    assert [path.stem for path in folder.glob("*.txt")] == ["2"]
    assert (folder / "2.txt").read_bytes() == b"12"
    assert (folder / "1.json").read_text() == "{}"
    assert (folder / "1.json").is_file() and folder.is_dir() and not (folder / "4").exists()
    assert (folder / "1.json").suffix == ".json" and (folder / "1.json").parent == folder
    assert str((folder / "1.json").relative_to(root)) == "name/labels/1.json"
    assert (folder / "1.json").with_suffix(".txt").name == "1.txt"
    assert root.joinpath("name", "labels").parts[-2:] == ("name", "labels")
    (folder / "2.txt").unlink()
    assert not (folder / "2.txt").exists()
    if isinstance(root, StoragePath):
        assert folder.is_dir() and str(folder) == listing.get_url("exports/name/labels")
        for way_out in ("..", "/etc", "a/../../x"):
            with pytest.raises(InvalidStorageName):
                root / way_out
        assert listing.get_pathlib("").parent == listing.get_pathlib("")


def test_a_web_server_says_that_it_lists_nothing(config_of):
    from synapse_core.storage import get_storage

    with get_storage(config_of("http")) as storage:
        for ask in (lambda: list(storage.list()), lambda: storage.get_path_file_count(""), storage.entries):
            with pytest.raises(CapabilityError, match="http"):
                ask()
        with pytest.raises(CapabilityError):
            storage.delete_tree("a")


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
