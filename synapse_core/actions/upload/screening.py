"""One look into each file: what it is by its bytes, whether it runs, whether it holds a secret, its checksum.

Whether a video has a constant frame rate is not looked at: that takes a decoder.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping

from synapse_core.actions.upload.archives import UnsafeArchive, read_members
from synapse_core.actions.upload.file_types import (
    MARKUP,
    PROGRAM_SIGNATURES,
    PROGRAMS,
    SIGNATURES,
)
from synapse_core.actions.upload.refusals import changed, removed, unreadable
from synapse_core.actions.upload.report import FailureCode, FileRefused
from synapse_core.actions.upload.sources import SourceFile, identity_of

HEAD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
# A secret on the border of two blocks is seen in the second one.
_OVERLAP = 128
# A pipe would keep whoever opens it waiting.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

_KEY_END = b"PRIVATE KEY"
_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----").search
_TOKEN = re.compile(
    rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{22}"
    rb"|\bglpat-[\w-]{20}|\bxox[abprs]-[0-9]{6,}-[0-9A-Za-z-]{6,}|\bAIza[0-9A-Za-z_-]{35}\b|\bsk_live_[0-9a-zA-Z]{24}"
).search
_SCRIPT_TAG = re.compile(rb"<script[\s>/]|javascript:", re.IGNORECASE).search


def check_by_name(file: SourceFile, most_bytes: float, allowed: Mapping[str, list[str]] | None) -> None:
    """Refuse a file by what is known without opening it. Raises FileRefused."""
    extension = file.extension
    if extension in PROGRAMS:
        raise FileRefused(FailureCode.UNSAFE_CONTENT, f"{extension} files are programs or scripts")
    if allowed is not None and not any(
        extension == f".{one.lower().lstrip('.')}" for group in allowed.values() for one in group
    ):
        raise FileRefused(FailureCode.UNSUPPORTED_EXTENSION, f"{extension or 'no extension'} is not allowed")
    if file.size_bytes > most_bytes:
        raise FileRefused(
            FailureCode.FILE_TOO_LARGE,
            f"it has {file.size_bytes / 2**20:,.1f} MiB; at most {most_bytes / 2**20:,.4g} are taken",
        )
    if file.size_bytes == 0:
        raise FileRefused(FailureCode.FILE_CORRUPTED, "it is empty")


def screen(file: SourceFile) -> None:
    """Look at the beginning of a file, and take the checksum of a small one. Raises FileRefused."""
    descriptor = _opened(file)
    try:
        head = os.read(descriptor, HEAD_BYTES)
        _check_head(head, file.extension)
        if len(head) == file.size_bytes:
            _check_secrets(head, _is_text(head))
            file.checksum = hashlib.sha256(head).hexdigest()
        if file.extension == ".zip":
            with os.fdopen(os.dup(descriptor), "rb") as content:
                read_members(content)
    except UnsafeArchive as error:
        raise FileRefused(FailureCode.UNSAFE_CONTENT, str(error)) from error
    except OSError as error:
        raise unreadable(error) from error
    finally:
        os.close(descriptor)


def read_unchanged(file: SourceFile) -> bytes:
    """Return what a small file holds, which is what its checksum says. Raises FileRefused."""
    try:
        descriptor = os.open(file.path, _OPEN)
        try:
            # One byte more would be another file already.
            content = os.read(descriptor, file.size_bytes + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise removed() from None
    except OSError as error:
        raise unreadable(error) from error
    if hashlib.sha256(content).hexdigest() != file.checksum:
        raise changed()
    return content


def take_checksum(file: SourceFile, check_stop: Callable[[], None]) -> None:
    """Read the whole of a file, for its checksum and for secrets. Raises FileRefused."""
    descriptor = _opened(file)
    digest = hashlib.sha256()
    try:
        block = os.read(descriptor, _BLOCK_BYTES)
        # Once more: what was looked at may have been another content with the same size and time.
        _check_head(block[:HEAD_BYTES], file.extension)
        is_text = _is_text(block[:HEAD_BYTES])
        rest = b""
        while block:
            check_stop()
            digest.update(block)
            _check_secrets(rest + block, is_text)
            rest = block[-_OVERLAP:]
            block = os.read(descriptor, _BLOCK_BYTES)
        if identity_of(os.fstat(descriptor)) != file.identity:
            raise changed()
    except OSError as error:
        raise unreadable(error) from error
    finally:
        os.close(descriptor)
    file.checksum = digest.hexdigest()


def _opened(file: SourceFile) -> int:
    try:
        descriptor = os.open(file.path, _OPEN)
    except FileNotFoundError:
        raise removed() from None
    except OSError as error:
        raise unreadable(error) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or identity_of(found) != file.identity:
        os.close(descriptor)
        raise changed()
    return descriptor


def _check_head(head: bytes, extension: str) -> None:
    for sign, what in PROGRAM_SIGNATURES:
        if head.startswith(sign):
            raise FileRefused(FailureCode.UNSAFE_CONTENT, f"it is {what}")
    if head.startswith(b"MZ") and _is_windows_program(head):
        raise FileRefused(FailureCode.UNSAFE_CONTENT, "it is a Windows program")
    if b"<?php" in head:
        raise FileRefused(FailureCode.UNSAFE_CONTENT, "it holds a PHP script")
    if extension in MARKUP and _SCRIPT_TAG(head):
        raise FileRefused(FailureCode.UNSAFE_CONTENT, "it holds a script")
    signs = SIGNATURES.get(extension)
    if signs is not None and not any(head.startswith(sign, at) for at, sign in signs):
        raise FileRefused(FailureCode.UNSAFE_CONTENT, f"its bytes are not those of a {extension} file")


def _is_windows_program(head: bytes) -> bool:
    start = int.from_bytes(head[60:64], "little")
    return head[start : start + 4] == b"PE\0\0" or b"This program" in head[:512]


def _check_secrets(data: bytes, is_text: bool) -> None:
    # The plain search first: it takes a tenth of the time.
    if _KEY_END in data and _KEY(data):
        raise FileRefused(FailureCode.UNSAFE_CONTENT, "it holds a private key")
    if is_text and _TOKEN(data):
        raise FileRefused(FailureCode.UNSAFE_CONTENT, "it holds an access token")


def _is_text(head: bytes) -> bool:
    return b"\0" not in head
