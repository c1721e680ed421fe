"""Replacing a file of somebody else's: whole or not at all, with a copy of what stood there."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from synapse_core.errors import Conflict, InvalidConfig


def replace_file(file: Path, expected: bytes | None, content: bytes, mode: int) -> Path | None:
    """Write a file in one step, in place of `expected`, and keep what stood there beside it.

    A link is followed. The mode and the owner of a file stay; a new one gets `mode`.
    Returns the copy, None where there was no file. Raises Conflict where the file is no longer as expected,
    InvalidConfig where it cannot be written; it is as it was then.
    """
    target = file.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        status = target.stat() if expected is not None else None
        kept = None
        if expected is not None and status is not None:
            mode = status.st_mode & 0o777
            kept = _keep(target, expected, mode)
        try:
            _write(temporary, content, mode)
            if status is not None:
                with suppress(PermissionError):  # only root may give files away
                    os.chown(temporary, status.st_uid, status.st_gid)
            if (target.read_bytes() if target.exists() else None) != expected:
                if kept is not None:
                    kept.unlink()
                raise Conflict(
                    f"{file} was changed by another program at this moment; it was left alone.",
                    hint="Close the client and try again.",
                    retryable=True,
                )
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidConfig(
            f"{file} cannot be written: {error.strerror}.",
            hint="Give yourself the right to write it, or use --print and put the text there yourself.",
        ) from error
    return kept


def _keep(target: Path, content: bytes, mode: int) -> Path:
    """Write a copy of a file beside it, under a name that is free."""
    number = 1
    while True:
        ending = ".before-synapse" if number == 1 else f".before-synapse-{number}"
        copy = target.with_name(target.name + ending)
        try:
            _write(copy, content, mode)
            return copy
        except FileExistsError:
            number += 1


def _write(path: Path, content: bytes, mode: int) -> None:
    # What others may not read in the file, they may not read in a copy of it for a moment either.
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
