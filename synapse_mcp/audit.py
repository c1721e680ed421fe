"""The audit log: one JSON line for each call, in a file of the home that only its owner can read."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.environment import is_secret_name
from synapse_mcp.masking import MASK, masked_data

log = logging.getLogger(__name__)

FILE_NAME = "audit.jsonl"
_VALUE_CHARS = 200
_ARGUMENTS_BYTES = 2_000
_DEPTH = 12


class AuditLog:
    """Appends lines; several servers may write into one file, and any of them moves it aside when it is full.

    most_bytes: how large a file grows, about. kept: how many older ones there are beside it, `.1` the newest.
    """

    def __init__(self, path: Path, most_bytes: int = 10_000_000, kept: int = 5) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._kept = kept

    def record(self, tool: str, arguments: Mapping[str, Any], seconds: float, **facts: Any) -> None:
        """Write down a call that has just ended. facts: of the answer and of who asked; None is left out.

        Where it cannot be written, the call has been answered even so: a warning in the server's log says it.
        """
        known = {key: value for key, value in facts.items() if value is not None}
        shown, told = masked_data([_without_named_secrets(arguments), known])
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "tool": tool[:_VALUE_CHARS],
            "arguments": _short(shown),
            "milliseconds": round(seconds * 1000, 1),
            **told,
        }
        try:
            self._append(_encoded(line) + b"\n")
        except OSError as error:
            log.warning("A call is missing in %s: %s", self._path, error.strerror)

    def _append(self, data: bytes) -> None:
        try:
            file = self._open()
        except FileNotFoundError:  # the home is new, or was taken away
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._open()
        try:
            os.write(file, data)  # one call: lines of other servers come before or after it, never inside
            is_full = os.lseek(file, 0, os.SEEK_CUR) >= self._most_bytes
        finally:
            os.close(file)
        if is_full:
            self._rotate()

    def _open(self) -> int:
        return os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )

    def _rotate(self) -> None:
        """Move the files on by one. A line that is written at this moment goes into one or the other."""
        lock = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another server may have been faster.
            if self._path.exists() and self._path.stat().st_size >= self._most_bytes:
                for number in range(self._kept - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number).replace(self._numbered(number + 1))
                self._path.replace(self._numbered(1))
        finally:
            os.close(lock)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _short(arguments: Mapping[str, Any]) -> Any:
    """Return a call's arguments as they may be kept: long values and long wholes cut."""
    shown = {key: _cut(value) for key, value in arguments.items()}
    data = _encoded(shown)
    if len(data) <= _ARGUMENTS_BYTES:
        return shown
    return {"cut": data[:_ARGUMENTS_BYTES].decode("utf-8", "ignore"), "bytes": len(data)}


def _encoded(value: Any) -> bytes:
    """Return plain data as JSON."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half a surrogate pair, as in a file name that is not UTF-8, is no text that can be written.
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _without_named_secrets(value: Any, depth: int = 0) -> Any:
    """Return plain data with the values masked whose names say that they are secret, not too deep."""
    if depth > _DEPTH and isinstance(value, Mapping | list | tuple):
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): MASK
            if isinstance(entry, str) and is_secret_name(str(key))
            else _without_named_secrets(entry, depth + 1)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_named_secrets(entry, depth + 1) for entry in value]
    return value


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _VALUE_CHARS else f"{value[:_VALUE_CHARS]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key[:_VALUE_CHARS]: _cut(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_cut(entry) for entry in value[:20]] + (
            [f"… ({len(value)} entries)"] if len(value) > 20 else []
        )
    return value
