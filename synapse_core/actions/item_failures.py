"""Failures of single items: which of them are no item's own, and how they are told."""

from __future__ import annotations

import errno

from synapse_core.errors import SynapseError, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_fatal(error: BaseException | None) -> bool:
    """Return True for what every other item would fail of too: no service, no disk, no memory."""
    while error is not None:
        if isinstance(error, MemoryError | Unavailable):
            return True
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def told(error: BaseException) -> str:
    """Return an error as one line of at most 300 characters."""
    text = " ".join(str(error).split()) or "no reason was given"
    return (text if isinstance(error, SynapseError) else f"{type(error).__name__}: {text}")[:300]
