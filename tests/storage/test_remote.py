"""What goes wrong with storages elsewhere: hosts that are gone or another, keys that do not fit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from storage_servers import PASSPHRASE, Sftp

from synapse_core.errors import (
    InvalidStorageName,
    StorageConfigError,
    StorageConnectionError,
    StorageNotFound,
    StoragePermissionError,
)
from synapse_core.storage import get_storage, s3
from synapse_core.storage import sftp as sftp_module

Config = dict[str, Any]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def sftp_config(config_of: Callable[[str], Config]) -> Config:
    return config_of("sftp")


def test_a_key_opens_as_well_as_a_password(sftp_config: Config, sftp: Sftp, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text(sftp.key)
    given = sftp_config["configuration"]
    del given["password"]

    for key in (
        {"private_key": sftp.key},
        {"private_key": str(file)},
        {"private_key": sftp.locked_key, "passphrase": PASSPHRASE},
    ):
        with get_storage({"provider": "sftp", "configuration": {**given, **key}}) as storage:
            storage.write_bytes("a", b"1")
            assert storage.read_bytes("a") == b"1"


@pytest.mark.parametrize(
    "key", [{"private_key": "nothing/there"}, {"private_key": "a PRIVATE KEY of cheese"}]
)
def test_a_key_that_is_none_is_refused_before_anything_is_connected(sftp_config: Config, key: str):
    with pytest.raises(StorageConfigError, match="private_key"):
        get_storage(
            {"provider": "sftp", "configuration": {**sftp_config["configuration"], "private_key": key}}
        )


def test_a_locked_key_needs_its_passphrase(sftp_config: Config, sftp: Sftp):
    given = {**sftp_config["configuration"], "private_key": sftp.locked_key}

    with pytest.raises(StorageConfigError, match="passphrase"):
        get_storage({"provider": "sftp", "configuration": given})
    with pytest.raises(StorageConfigError, match="passphrase"):
        get_storage({"provider": "sftp", "configuration": {**given, "passphrase": "wrong"}})


def test_a_wrong_password_is_told_and_not_repeated(sftp_config: Config):
    sftp_config["configuration"]["password"] = "wrong horse battery"

    with get_storage(sftp_config) as storage, pytest.raises(StoragePermissionError) as caught:
        storage.exists("a")
    assert "wrong horse" not in str(caught.value)


def test_a_host_with_another_key_than_the_known_one_is_not_used(
    sftp_config: Config, sftp: Sftp, user_home: Path
):
    known = user_home / ".ssh" / "known_hosts"
    known.parent.mkdir()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()

    known.write_text(f"[127.0.0.1]:{sftp.port} {sftp.host_key}")
    with get_storage(sftp_config) as storage:
        assert not storage.exists("a")
    known.write_text(f"[127.0.0.1]:{sftp.port} {other}")
    with get_storage(sftp_config) as storage, pytest.raises(StoragePermissionError, match="BadHostKey"):
        storage.exists("a")


def test_a_connection_that_was_cut_is_made_anew(sftp_config: Config):
    with get_storage(sftp_config) as storage:
        storage.write_bytes("a", b"1")
        for thread in threading.enumerate():
            if isinstance(thread, paramiko.Transport):
                thread.close()

        assert storage.read_bytes("a") == b"1"


def test_a_link_on_the_other_machine_is_not_walked(sftp_config: Config, sftp: Sftp):
    with get_storage(sftp_config) as storage:
        storage.write_bytes("real/a", b"1")
        base = sftp.root / sftp_config["configuration"]["root_path"].strip("/")
        (base / "real" / "round").symlink_to("..")

        assert list(storage.list()) == [("real/a", 1)]
        storage.delete_tree("real")
        assert list(base.iterdir()) == []


@pytest.mark.parametrize("provider", ["s3", "sftp"])
def test_a_host_that_is_gone_cannot_be_reached(
    config_of: Callable[[str], Config], provider: str, free_port: int
):
    config = config_of(provider)
    config["configuration"].update(
        {"endpoint_url": f"http://127.0.0.1:{free_port}"} if provider == "s3" else {"port": free_port}
    )

    with get_storage(config) as storage, pytest.raises(StorageConnectionError) as caught:
        storage.write_bytes("a", b"1")
    assert caught.value.retryable


@pytest.mark.parametrize("provider", ["s3", "sftp"])
def test_a_host_that_says_nothing_is_not_waited_for_long(
    config_of: Callable[[str], Config], provider: str, silent: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(s3, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(s3, "_ATTEMPTS", 1)
    monkeypatch.setattr(sftp_module, "_CONNECT_SECONDS", 0.3)
    config = config_of(provider)
    config["configuration"].update(
        {"endpoint_url": f"http://127.0.0.1:{silent}"} if provider == "s3" else {"port": silent}
    )
    began = time.monotonic()

    with get_storage(config) as storage, pytest.raises(StorageConnectionError):
        storage.read_bytes("a")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("provider", ["s3", "gcs"])
def test_a_bucket_that_is_not_there_is_told(config_of: Callable[[str], Config], provider: str):
    config = config_of(provider)
    config["configuration"]["bucket_name"] = "no-such-bucket"

    with get_storage(config) as storage:
        for ask in (lambda: storage.write_bytes("a", b"1"), lambda: list(storage.list())):
            with pytest.raises(StorageNotFound):
                ask()


def test_a_name_that_s3fs_would_take_for_a_version_is_refused(config_of: Callable[[str], Config]):
    with get_storage(config_of("s3")) as storage, pytest.raises(InvalidStorageName, match="version"):
        storage.write_bytes("a?versionId=1", b"1")
