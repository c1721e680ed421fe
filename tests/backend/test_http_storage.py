"""Storages of a service: those that only its machine reaches, and those that anybody does."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from backend_services import TOKEN, serving

from synapse_core.backend.http import HttpBackend
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import InvalidStorageName, StorageError, StorageNotFound
from synapse_core.storage import Storage


@pytest.fixture
def served(home: Path) -> Iterator[tuple[HttpBackend, LocalBackend]]:
    with serving(home) as (url, local), HttpBackend(url, TOKEN) as backend:
        yield backend, local


@pytest.fixture
def storage(served: tuple[HttpBackend, LocalBackend]) -> Storage:
    return served[0].open_storage()


NAMES = ["a.txt", "folder/b c.txt", "folder/sub/100%.txt", "이미지/사진#1?.png", "semi;colon&amp.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_over_http_is_what_the_service_has(served, storage: Storage, name: str):
    _backend, local = served

    storage.write_bytes(name, b"content")

    assert local.open_storage().read_bytes(name) == storage.read_bytes(name) == b"content"
    assert storage.exists(name)
    assert storage.stat(name).size_bytes == 7  # type: ignore[union-attr]
    storage.delete(name)
    assert not local.open_storage().exists(name)


def test_folders_are_listed_and_deleted(storage: Storage, tmp_path: Path):
    for name in NAMES:
        storage.write_bytes(name, name.encode())

    assert dict(storage.list()) == {name: len(name.encode()) for name in NAMES}
    assert [name for name, _ in storage.list()] == sorted(NAMES)
    assert [(entry.name, entry.is_folder) for entry in storage.entries("folder")] == [
        ("folder/b c.txt", False),
        ("folder/sub", True),
    ]
    assert storage.stat("folder").is_folder  # type: ignore[union-attr]
    storage.delete_tree("folder")
    assert storage.get_path_file_count() == 3
    with pytest.raises(StorageNotFound):
        storage.delete("folder/b c.txt")
    with pytest.raises(StorageNotFound):
        storage.download("nothing", tmp_path / "x")
    assert list(tmp_path.glob("x*")) == []


def test_files_are_written_and_read_like_files(storage: Storage):
    with storage.open("lines.txt", "w") as text:
        text.write("one\ntwo\n")
    with pytest.raises(ZeroDivisionError), storage.open("half.txt", "w") as text:
        text.write("one")
        raise ZeroDivisionError

    with storage.open("lines.txt", "r") as text:
        assert list(text) == ["one\n", "two\n"]
    assert not storage.exists("half.txt")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(storage: Storage, name: str):
    with pytest.raises(InvalidStorageName):
        storage.write_bytes(name, b"")


def test_a_link_out_of_the_storage_is_not_followed(home: Path, storage: Storage, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    storage.write_bytes("a.txt", b"")
    (home / "files" / "link.txt").symlink_to(tmp_path / "secret.txt")

    with pytest.raises(StorageError, match="leads out"):
        storage.read_bytes("link.txt")


def test_a_storage_of_the_service_does_not_carry_its_token_away(storage: Storage):
    assert TOKEN not in repr(storage)
    with pytest.raises(TypeError, match="open_storage"):
        pickle.dumps(storage)


def test_a_storage_that_anybody_reaches_is_used_without_the_service(served):
    backend, local = served
    settings = {"base_url": "https://files.example.org/base", "headers": {"X-Key": "secret"}}
    made = local.create_storage("Web", "https", settings)

    opened = backend.open_storage(made.id)

    assert opened.provider == "http"
    assert opened.get_url("a b") == "https://files.example.org/base/a%20b"
    assert backend.get_storage(made.id).configuration == {}
