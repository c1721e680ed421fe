"""Files of a machine that is reached by SSH.

paramiko and not fsspec, whose file system does not bound its waits, takes any key of a host, and shares one
channel among all threads. Here the keys in the user's known_hosts are binding; a host that is not there keeps
the key that it showed first for as long as the storage lives.
"""

from __future__ import annotations

import io
import posixpath
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from synapse_core.errors import (
    StorageConfigError,
    StorageConnectionError,
    StorageError,
    StoragePermissionError,
)
from synapse_core.storage.configuration import Configuration, Setting, check_path, host, port, text, word
from synapse_core.storage.files import Capabilities, Entry, Provider, kind_of_os_error, walk_entries
from synapse_core.storage.names import PART_PREFIX, is_part, join_url
from synapse_core.storage.remote import RemoteFiles

_CONNECT_SECONDS = 10
_WAIT_SECONDS = 30
# A server allows ten by default; some are left for others.
_MOST_CHANNELS = 6
_KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
# What leaves a channel in a state that nobody knows.
_BROKEN = (paramiko.SSHException, EOFError, TimeoutError, ConnectionError)


class _KeepsItsKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # untyped
    """A host that known_hosts does not have must go on showing the key that it showed first."""

    def __init__(self) -> None:
        self._keys: dict[str, paramiko.PKey] = {}

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        first = self._keys.setdefault(hostname, key)
        if first != key:
            raise paramiko.BadHostKeyException(hostname, key, first)


class _Channels:
    """Channels of one connection, each used by one thread at a time."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._key = _private_key(configuration)
        self._policy = _KeepsItsKey()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(_MOST_CHANNELS)
        self._idle: list[paramiko.SFTPClient] = []
        self._client: paramiko.SSHClient | None = None

    @contextmanager
    def one(self) -> Iterator[paramiko.SFTPClient]:
        """Give a channel. Raises what paramiko raises, TimeoutError where all stay in use."""
        if not self._free.acquire(timeout=_WAIT_SECONDS):
            raise TimeoutError(f"all {_MOST_CHANNELS} channels were in use for {_WAIT_SECONDS} s")
        try:
            channel = self._open()
            is_broken = True
            try:
                yield channel
                is_broken = False
            except OSError as error:
                is_broken = isinstance(error, _BROKEN)
                raise
            finally:
                self._give_back(channel, is_broken)
        finally:
            self._free.release()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
            self._idle.clear()
        if client is not None:
            client.close()

    def _open(self) -> paramiko.SFTPClient:
        with self._lock:
            transport = self._client and self._client.get_transport()
            if transport is None or not transport.is_active():
                self._idle.clear()
                if self._client is not None:
                    self._client.close()
                self._client = self._connected()
            elif self._idle:
                return self._idle.pop()
            channel = self._client.open_sftp()  # type: ignore[union-attr]  # made above
        channel.get_channel().settimeout(_WAIT_SECONDS)
        return channel

    def _give_back(self, channel: paramiko.SFTPClient, is_broken: bool) -> None:
        if is_broken:
            with suppress(*_BROKEN, OSError):
                channel.close()
            return
        with self._lock:
            self._idle.append(channel)

    def _connected(self) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        client.load_system_host_keys()
        client.set_missing_host_key_policy(self._policy)
        is_connected = False
        try:
            client.connect(
                self._configuration["host"],
                self._configuration["port"],
                self._configuration["username"],
                self._configuration["password"],
                pkey=self._key,
                timeout=_CONNECT_SECONDS,
                banner_timeout=_CONNECT_SECONDS,
                auth_timeout=_CONNECT_SECONDS,
                channel_timeout=_CONNECT_SECONDS,
                allow_agent=False,
                look_for_keys=False,
            )
            is_connected = True
        finally:
            if not is_connected:
                client.close()
        return client


class SftpFiles(RemoteFiles):
    """Files below a folder of a machine."""

    failures: tuple[type[Exception], ...] = (paramiko.SSHException, EOFError)

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._channels = _Channels(configuration)
        self._root = configuration["root_path"].rstrip("/") + "/"
        where = configuration["host"]
        where = f"[{where}]" if ":" in where else where
        at = "" if configuration["port"] == 22 else f":{configuration['port']}"
        self.base_url = join_url(f"sftp://{where}{at}", self._root, quotes=True)

    def kind_of(self, error: Exception) -> type[StorageError]:
        if isinstance(error, paramiko.AuthenticationException | paramiko.BadHostKeyException):
            return StoragePermissionError
        if isinstance(error, (*self.failures, NoValidConnectionsError)):
            return StorageConnectionError
        return kind_of_os_error(error)

    def info(self, name: str) -> Entry | None:
        with self._channels.one() as channel:
            try:
                found = channel.stat(self._root + name)
            except FileNotFoundError:
                return None
        return _entry(name, found)

    def put(self, name: str, source: BinaryIO, size_bytes: int) -> None:
        place = self._root + name
        part = f"{posixpath.dirname(place)}/{PART_PREFIX}{secrets.token_hex(8)}"
        with self._channels.one() as channel:
            is_stored = False
            try:
                try:
                    channel.putfo(source, part, size_bytes)
                except FileNotFoundError:
                    _make_folders(channel, posixpath.dirname(place))
                    source.seek(0)
                    channel.putfo(source, part, size_bytes)
                _rename(channel, part, place)
                is_stored = True
            finally:
                if not is_stored:
                    with suppress(*_BROKEN, OSError):
                        channel.remove(part)

    def read(self, name: str) -> bytes:
        content = io.BytesIO()
        with self._channels.one() as channel:
            channel.getfo(self._root + name, content)
        return content.getvalue()

    def fetch(self, name: str, local: Path) -> None:
        with self._channels.one() as channel, local.open("xb") as target:
            channel.getfo(self._root + name, target)

    def remove(self, name: str) -> None:
        with self._channels.one() as channel:
            channel.remove(self._root + name)

    def remove_tree(self, name: str) -> None:
        with self._channels.one() as channel, suppress(FileNotFoundError):
            _remove_tree(channel, self._root + name)

    def entries(self, folder: str) -> list[Entry]:
        prefix = f"{folder}/" if folder else ""
        with self._channels.one() as channel:
            try:
                found = channel.listdir_attr(self._root + folder)
            except FileNotFoundError:
                return []
        entries = [_entry(prefix + row.filename, row) for row in found if not is_part(row.filename)]
        return [entry for entry in entries if entry is not None]

    def walk(self, folder: str) -> Iterator[Entry]:
        return walk_entries(self, folder)

    def make_folder(self, folder: str) -> None:
        with self._channels.one() as channel:
            _make_folders(channel, (self._root + folder).rstrip("/"))

    def remove_folder(self, folder: str) -> None:
        with self._channels.one() as channel:
            channel.rmdir(self._root + folder)

    def close(self) -> None:
        self._channels.close()


def _entry(name: str, found: paramiko.SFTPAttributes) -> Entry | None:
    """Return an entry for a file or a folder, None for anything else, links among it."""
    mode = found.st_mode or 0
    if stat.S_ISDIR(mode):
        return Entry(name, None)
    return Entry(name, found.st_size or 0) if stat.S_ISREG(mode) else None


def _make_folders(channel: paramiko.SFTPClient, folder: str) -> None:
    if not folder:
        return
    try:
        channel.mkdir(folder)
    except FileNotFoundError:
        _make_folders(channel, posixpath.dirname(folder))
        _make_folders(channel, folder)
    except OSError:
        # It is there already, or somebody else made it meanwhile; SFTP has no own word for that.
        if not stat.S_ISDIR(channel.stat(folder).st_mode or 0):
            raise


def _rename(channel: paramiko.SFTPClient, part: str, place: str) -> None:
    """Give a complete file its name, in place of what stands there."""
    try:
        channel.posix_rename(part, place)
    except OSError as error:
        if "unsupported" not in str(error).lower():
            raise
        # A server without that extension renames only to what is free.
        with suppress(FileNotFoundError):
            channel.remove(place)
        channel.rename(part, place)


def _remove_tree(channel: paramiko.SFTPClient, place: str) -> None:
    # A link is removed, not what it leads to.
    if not stat.S_ISDIR(channel.lstat(place).st_mode or 0):
        channel.remove(place)
        return
    for row in channel.listdir_attr(place):
        _remove_tree(channel, f"{place}/{row.filename}")
    channel.rmdir(place)


def _private_key(configuration: Configuration) -> paramiko.PKey | None:
    """Return the key of a configuration. Raises StorageConfigError."""
    given = configuration["private_key"]
    if given is None:
        return None
    try:
        content = given if "PRIVATE KEY" in given else Path(given).expanduser().read_text()
    except (OSError, UnicodeDecodeError):
        raise _bad_key("private_key", "it is no key, and no path of a file that can be read") from None
    for kind in _KEY_KINDS:
        try:
            return kind.from_private_key(io.StringIO(content), configuration["passphrase"])
        except paramiko.PasswordRequiredException:
            raise _bad_key("passphrase", "the key needs one") from None
        except (paramiko.SSHException, ValueError, TypeError):
            continue  # of another kind, or broken
    raise _bad_key("private_key", "it is no Ed25519, ECDSA or RSA key, or the passphrase is another")


def _bad_key(key: str, reason: str) -> StorageConfigError:
    return StorageConfigError(
        f"The setting {key!r} of a storage of provider 'sftp' cannot be used: {reason}. Allowed is a "
        "private key in OpenSSH or PEM form, as text or as the path of its file, with its passphrase.",
        {"provider": "sftp", "key": key},
    )


def _check(configuration: Configuration) -> None:
    if configuration["password"] is None and configuration["private_key"] is None:
        raise StorageConfigError(
            "The settings 'password' and 'private_key' of a storage of provider 'sftp' are both missing or "
            "empty. Allowed is one of them, or both.",
            {"provider": "sftp", "key": "password"},
        )


PROVIDER = Provider(
    name="sftp",
    settings=(
        Setting("host", "a host's name or address, without user and port", host, is_required=True),
        Setting("username", "the user's name", word, is_required=True),
        Setting("password", "the user's password", text, is_secret=True),
        Setting("private_key", "a private key, or the path of its file", text, is_secret=True),
        Setting("passphrase", "the private key's passphrase", text, is_secret=True),
        Setting("port", "a number from 1 to 65535", port, default=22),
        Setting("root_path", "the absolute path of a folder, without '..'", check_path, default="/"),
    ),
    capabilities=Capabilities(lists=True, deletes=True, renames=True, makes_folders=True),
    connect=SftpFiles,
    check=_check,
)
