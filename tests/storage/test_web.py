"""A storage on the web: what is sent where, and servers that do not behave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from storage_servers import Web, web_server

from synapse_core.errors import (
    CapabilityError,
    StorageConnectionError,
    StorageError,
    StoragePermissionError,
    UploadError,
)
from synapse_core.storage import Storage, get_storage

Opens = Callable[..., Storage]


@pytest.fixture
def opens(web: Web) -> Iterator[Opens]:
    """Open a storage below one of the server's ways to behave."""
    opened = []

    def open_at(way: str, **configuration: object) -> Storage:
        given = {"base_url": f"{web.url}{way}", "headers": {"Authorization": "Bearer a-secret"}}
        opened.append(get_storage({"provider": "https", "configuration": {**given, **configuration}}))
        return opened[-1]

    yield open_at
    for storage in opened:
        storage.close()


@pytest.fixture
def other() -> Iterator[Web]:
    with web_server() as world:
        yield world


def test_the_headers_go_with_every_request(opens: Opens, web: Web):
    storage = opens("plain")
    storage.write_bytes("a b", b"1")
    storage.read_bytes("a b")
    storage.delete("a b")

    assert [(method, path) for method, path, _ in web.asked] == [
        ("PUT", "/plain/a%20b"),
        ("HEAD", "/plain/a%20b"),
        ("GET", "/plain/a%20b"),
        ("DELETE", "/plain/a%20b"),
    ]
    assert {headers["Authorization"] for _, _, headers in web.asked} == {"Bearer a-secret"}


def test_where_put_is_not_allowed_files_are_posted(opens: Opens, web: Web):
    storage = opens("post")
    storage.write_bytes("a", b"one")
    storage.write_bytes("b", b"two")

    assert storage.read_bytes("a") == b"one"
    assert [method for method, _, _ in web.asked] == ["PUT", "POST", "HEAD", "POST", "HEAD", "GET"]


def test_a_redirect_to_another_host_is_not_followed(opens: Opens, web: Web, other: Web):
    web.elsewhere = other.url
    other.files["/plain/a"] = b"bait"
    storage = opens("elsewhere")

    for ask in (
        lambda: storage.read_bytes("a"),
        lambda: storage.exists("a"),
        lambda: storage.write_bytes("a", b"1"),
        lambda: storage.delete("a"),
    ):
        with pytest.raises(StorageError, match="redirect"):
            ask()
    assert other.asked == []


def test_a_redirect_is_followed_inside_the_base_only(opens: Opens, web: Web):
    web.files["/inside/new/it"] = web.files["/plain/it"] = b"moved"
    storage = opens("inside")

    assert storage.read_bytes("old") == b"moved"
    for name in ("out", "hidden", "round"):
        with pytest.raises(StorageError, match="redirect"):
            storage.read_bytes(name)
    assert all(path.startswith("/inside/") for _, path, _ in web.asked)


def test_a_server_that_hangs_is_waited_for_in_vain(opens: Opens):
    storage = opens("hangs", timeout=0.2)
    began = time.monotonic()

    for ask in (lambda: storage.read_bytes("a"), lambda: storage.write_bytes("a", b"1")):
        with pytest.raises(StorageConnectionError, match="Timeout") as caught:
            ask()
        assert caught.value.retryable
    assert time.monotonic() - began < 5


def test_a_server_that_fails_can_be_asked_again(opens: Opens):
    storage = opens("broken")

    for ask in (
        lambda: storage.read_bytes("a"),
        lambda: storage.exists("a"),
        lambda: storage.write_bytes("a", b"1"),
    ):
        with pytest.raises(StorageConnectionError, match="500") as caught:
            ask()
        assert caught.value.retryable


def test_a_server_that_is_not_there_cannot_be_reached():
    with web_server() as gone:
        url = gone.url
    gone_storage = get_storage({"provider": "http", "configuration": {"base_url": url}})
    with gone_storage as storage, pytest.raises(StorageConnectionError):
        storage.exists("a")


def test_a_server_that_lets_nobody_in_says_so(opens: Opens):
    with pytest.raises(StoragePermissionError, match="403"):
        opens("shut").read_bytes("a")


def test_half_a_file_is_not_a_file(opens: Opens, tmp_path):
    storage = opens("cuts")

    with pytest.raises(UploadError, match="4 bytes where it is stored; 8 were sent"):
        storage.write_bytes("a", b"12345678")
    with pytest.raises(StorageConnectionError):
        storage.download("a", tmp_path / "folder" / "copy")
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_server_that_does_not_delete_says_so(opens: Opens):
    storage = opens("undeleting")
    storage.write_bytes("a", b"1")

    with pytest.raises(CapabilityError, match="405"):
        storage.delete("a")
