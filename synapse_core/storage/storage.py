"""A storage: files below one base, wherever that is. Every provider is used through this class.

Names are relative, with / between their parts; none leads out of the base. It can be used by many threads,
and sent to another process, where it is connected anew.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import IO, Any

from synapse_core.errors import (
    CapabilityError,
    InvalidRequest,
    StorageError,
    StorageNotFound,
    UploadError,
)
from synapse_core.storage.configuration import secrets_of
from synapse_core.storage.drafts import BytesWriter, Draft, TextWriter
from synapse_core.storage.files import Capabilities, Entry, Provider
from synapse_core.storage.local import LocalFiles
from synapse_core.storage.names import PART_PREFIX, check_folder, check_name, join_url, shown, split_url
from synapse_core.storage.reading import Reading
from synapse_core.storage.storage_path import StoragePath
from synapse_core.storage.translation import Translator

_READ_AT_ONCE = 1 << 16
# A pipe would keep whoever opens it waiting.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Storage:
    """Files below one base.

    Errors are StorageErrors: InvalidStorageName for a name that is none, StorageNotFound,
    StoragePermissionError, StorageConnectionError (try again later), UploadError, and CapabilityError where
    the provider cannot do it.
    """

    def __init__(self, provider: Provider, configuration: Mapping[str, Any]) -> None:
        """configuration: every setting of the provider, checked. See `get_storage`."""
        self._provider = provider
        self.provider = provider.name
        self.capabilities: Capabilities = provider.capabilities
        self._configuration = dict(configuration)
        self._files = provider.connect(self._configuration)
        self._translator = Translator(
            self._files, self._files.base_url, secrets_of(provider.settings, configuration)
        )

    def __repr__(self) -> str:
        return f"Storage({self.provider!r}, {self.base_url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A connection stays in its process.
        return type(self), (self._provider, self._configuration)

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections that it holds. The next use makes new ones."""
        self._files.close()

    @property
    def is_local(self) -> bool:
        """True where the files are files of this machine."""
        return self.capabilities.is_local

    @property
    def base_url(self) -> str:
        """The URL of the base, with a slash at its end."""
        return self._files.base_url

    # Writing

    def upload(self, source: str | os.PathLike[str], target: str, *, sha256: str | None = None) -> str:
        """Store a local file under the name `target`, in place of what stands there. Returns its URL.

        Folders above it are made. What is stored has the file's size, or this raises.
        sha256: what the content must have, in hexadecimal digits; it is read twice then.
        Raises UploadError, also for a source that is no file.
        """
        name = check_name(target)
        with self._translator.doing("stored", name, UploadError), _opened(source) as (content, size_bytes):
            if sha256 is not None:
                _check_sha256(content, sha256, source)
            self._files.put(name, content, size_bytes)
        return self.get_url(name)

    def write_bytes(self, target: str, data: bytes | bytearray | memoryview) -> str:
        """Store bytes under a name, in place of what stands there. Returns the URL. Raises UploadError."""
        name = check_name(target)
        content = io.BytesIO(data)
        size_bytes = content.getbuffer().nbytes
        with self._translator.doing("stored", name, UploadError):
            self._files.put(name, content, size_bytes)
        return self.get_url(name)

    def open(
        self, target: str, mode: str = "rb", *, encoding: str = "utf-8", newline: str | None = None
    ) -> IO[Any]:
        """Open a file: mode 'r' or 'w', with 'b' for bytes and without or with 't' for text.

        What is written gets its name when the file is closed; after an error inside `with` nothing does.
        """
        name = check_name(target)
        plain = mode.replace("t", "")
        if plain not in ("r", "rb", "w", "wb"):
            raise InvalidRequest(
                f"A stored file cannot be opened with mode {mode!r}.", hint="Use 'r', 'rb', 'w' or 'wb'."
            )
        if plain.startswith("w"):
            writer = BytesWriter(self._draft(name))
            return writer if plain == "wb" else TextWriter(writer, encoding=encoding, newline=newline)
        with self._translator.doing("read", name):
            found = self._files.open(name)
        reader = (
            found
            if self.is_local
            else io.BufferedReader(Reading(found, name, self._translator), _READ_AT_ONCE)
        )
        return reader if plain == "rb" else io.TextIOWrapper(reader, encoding=encoding, newline=newline)

    def delete(self, target: str, missing_ok: bool = False) -> None:
        """Delete a file. Raises StorageNotFound where there is none, except with missing_ok."""
        name = check_name(target)
        self._need("deletes", "delete files")
        try:
            with self._translator.doing("deleted", name):
                self._files.remove(name)
        except StorageNotFound:
            if not missing_ok:
                raise

    def delete_tree(self, prefix: str) -> None:
        """Delete a folder with all that is in it, or a file; nothing where neither is there.

        Raises InvalidStorageName for the base itself.
        """
        name = check_name(check_folder(prefix))
        self._need("deletes", "delete files")
        self._need("lists", "tell what a folder holds")
        with self._translator.doing("deleted", name):
            self._files.remove_tree(name)

    def delete_empty_folders(self, path: str) -> None:
        """Delete a folder that holds nothing, and those above it that hold nothing then; the base stays.

        Nothing is done where folders come and go with their files. What cannot be deleted stays.
        """
        name = check_folder(path)
        if not self.capabilities.makes_folders:
            return
        with suppress(StorageError):
            while name:
                with self._translator.doing("deleted", name):
                    self._files.remove_folder(name)
                name = name.rpartition("/")[0]

    def make_dirs(self, path: str) -> None:
        """Make a folder and those above it. Where folders come and go with their files, nothing is done."""
        name = check_folder(path)
        if self.capabilities.makes_folders:
            with self._translator.doing("made", name):
                self._files.make_folder(name)

    # Reading

    def download(self, target: str, local_path: str | os.PathLike[str]) -> Path:
        """Copy a stored file to a local path, in place of what stands there; it appears when it is whole.

        Folders above it are made. Returns the local path. Raises StorageNotFound.
        """
        name = check_name(target)
        local = Path(local_path)
        local.parent.mkdir(parents=True, exist_ok=True)
        part = local.with_name(f"{PART_PREFIX}{secrets.token_hex(8)}")
        try:
            with self._translator.doing("downloaded", name):
                self._files.fetch(name, part)
                part.replace(local)
        finally:
            part.unlink(missing_ok=True)
        return local

    def read_bytes(self, target: str) -> bytes:
        """Return what a file holds. Raises StorageNotFound."""
        name = check_name(target)
        with self._translator.doing("read", name):
            return self._files.read(name)

    def exists(self, target: str) -> bool:
        """Return True where a file of this name stands, or a folder. Raises where nobody can tell."""
        return self.stat(target) is not None

    def stat(self, target: str) -> Entry | None:
        """Return what stands under a name, with its size; None where nothing does."""
        name = check_folder(target)
        with self._translator.doing("looked up", name):
            return self._files.info(name)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield (name, size in bytes) of all files below a folder, or of one file, sorted by name.

        Links that lead out of the base, and files that are not complete yet, are left out. Nothing is yielded
        where there is nothing. Raises CapabilityError where the provider cannot tell.
        """
        name = check_folder(prefix)
        self._need("lists", "tell what there is")
        with self._translator.doing("listed", name):
            found = self._files.info(name) if name else Entry("", None)
            if found is None:
                return
            if found.size_bytes is not None:
                yield name, found.size_bytes
                return
        for entry in self._translator.each("listed", name, self._files.walk(name)):
            yield entry.name, entry.size_bytes or 0

    def entries(self, folder: str = "") -> tuple[Entry, ...]:
        """Return what a folder holds itself, sorted by name: files with their size, and folders."""
        name = check_folder(folder)
        self._need("lists", "tell what there is")
        with self._translator.doing("listed", name):
            return tuple(sorted(self._files.entries(name), key=lambda entry: entry.name))

    # Names, URLs, paths

    def get_url(self, target: str = "") -> str:
        """Return the URL of a name; it need not stand for anything yet."""
        return join_url(self.base_url, check_folder(target), self._files.quotes)

    def name_of(self, url: str) -> str:
        """Return the name that an URL of this storage stands for.

        Raises InvalidStorageName for any other URL, one of another host among them.
        """
        return split_url(self.base_url, url, self._files.quotes)

    def get_pathlib(self, path: str = "") -> Path | StoragePath:
        """Return a path: a real one where the storage is local, else one that works alike on this storage."""
        name = check_folder(path)
        if isinstance(self._files, LocalFiles):
            with self._translator.doing("looked up", name):
                return Path(self._files.real_path(name))
        return StoragePath(self, name)

    def get_path_file_count(self, path: str | PurePath | StoragePath = "") -> int:
        """Return how many files lie below a name, or a path that `get_pathlib` gave."""
        return sum(1 for _ in self.list(self._name_of_path(path)))

    def get_path_total_size(self, path: str | PurePath | StoragePath = "") -> int:
        """Return how many bytes the files below a name, or a path that `get_pathlib` gave, have together."""
        return sum(size_bytes for _, size_bytes in self.list(self._name_of_path(path)))

    def _name_of_path(self, path: str | PurePath | StoragePath) -> str:
        if isinstance(path, StoragePath):
            return path.name_in_storage
        if isinstance(path, PurePath) and isinstance(self._files, LocalFiles):
            return self._files.name_of_path(path)
        return str(path)

    def _need(self, capability: str, what: str) -> None:
        if not getattr(self.capabilities, capability):
            raise CapabilityError(
                f"A storage of provider {self.provider!r} cannot {what}.",
                {"provider": self.provider, "capability": capability},
                hint="Use another provider for this, such as s3, sftp or local.",
            )

    def _draft(self, name: str) -> Draft:
        def finish(draft: Path) -> None:
            with self._translator.doing("stored", name, UploadError):
                self._files.adopt(draft, name)

        with self._translator.doing("written", name, UploadError):
            path, mode = self._files.draft_path(name)
            return Draft(path, finish, mode)


@contextmanager
def _opened(source: str | os.PathLike[str]) -> Iterator[tuple[io.FileIO, int]]:
    """Give a local file and its size in bytes. Raises UploadError where it is none, or changes meanwhile."""
    try:
        # Unbuffered: it is read in large pieces.
        content = open(os.open(source, _OPEN), "rb", buffering=0)  # noqa: SIM115  # below
    except (OSError, ValueError) as error:
        raise UploadError(f"{shown(os.fspath(source))} cannot be read: {error}.") from error
    with content:
        before = os.fstat(content.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise UploadError(
                f"{shown(os.fspath(source))} is no file.", hint="Upload the files of a folder one by one."
            )
        yield content, before.st_size
        after = os.fstat(content.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UploadError(
                f"{shown(os.fspath(source))} changed while it was sent.", hint="Upload it again."
            )


def _check_sha256(content: io.FileIO, wanted: str, source: str | os.PathLike[str]) -> None:
    found = hashlib.file_digest(content, "sha256").hexdigest()
    content.seek(0)
    if found != wanted.lower():
        raise UploadError(
            f"{shown(os.fspath(source))} has the SHA-256 {found}, not {shown(wanted)}; nothing was stored.",
            {"sha256": found},
            hint="Did it change since its checksum was taken?",
        )
