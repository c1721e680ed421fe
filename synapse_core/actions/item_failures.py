"""Failures of single items: which of them are no item's own, and how they are told."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from synapse_core.errors import SynapseError, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_fatal(error: BaseException) -> bool:
    """Return True for what every other item would fail of too: no service, no disk, no memory."""
    return any(
        isinstance(one, MemoryError | Unavailable) or (isinstance(one, OSError) and one.errno in _FULL)
        for one in _causes(error)
    )


def is_away(error: BaseException) -> bool:
    """Return True where a service did not answer, so that the same call can succeed later."""
    return any(isinstance(one, Unavailable) and one.retryable for one in _causes(error))


def told(error: BaseException) -> str:
    """Return an error as one line of at most 300 characters."""
    text = " ".join(str(error).split()) or "no reason was given"
    return (text if isinstance(error, SynapseError) else f"{type(error).__name__}: {text}")[:300]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
