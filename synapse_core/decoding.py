"""JSON and plain data as records, from any thread.

msgspec prepares a class when it first decodes one. Another thread that decodes it at that very moment ends
the process (a null pointer, seen with msgspec 0.22): so classes are prepared here, one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_preparing = threading.Lock()


def decoded(content: bytes | str, kind: type[T]) -> T:
    """Return what a JSON text holds. Raises msgspec.DecodeError and msgspec.ValidationError."""
    found: T = _prepared(cast(Hashable, kind)).decode(content)
    return found


def converted(data: Any, kind: type[T], *, strict: bool = True) -> T:
    """Return plain data as a record. strict: False takes "1" for a number. Raises msgspec.ValidationError."""
    _prepared(cast(Hashable, kind))
    return msgspec.convert(data, kind, strict=strict)


@cache
def _prepared(kind: Hashable) -> msgspec.json.Decoder[Any]:
    with _preparing:
        return msgspec.json.Decoder(cast(Any, kind))
