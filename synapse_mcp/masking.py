"""Keeping secrets off the wire: known values, and texts that look like keys."""

from __future__ import annotations

import os
import re
from typing import Any

from synapse_core.environment import is_secret_name

MASK = "***"

_SHAPES = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{30,}"
    r"|github_pat_[A-Za-z0-9_]{30,}"
    r"|sk-[A-Za-z0-9_-]{20,}"
    r"|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
# Shorter values would mask ordinary words.
_SHORTEST = 8


def masked(text: str) -> str:
    """Return the text with every known or secret-shaped value replaced by ***."""
    return _masked(text, _known_values())


def masked_data(value: Any) -> Any:
    """Return plain JSON data with every text in it masked, keys included."""
    known = _known_values()

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return _masked(value, known)
        if isinstance(value, dict):
            return {_masked(str(key), known): walk(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [walk(entry) for entry in value]
        return value

    return walk(value)


def _masked(text: str, known: list[str]) -> str:
    for value in known:
        text = text.replace(value, MASK)
    return _SHAPES.sub(MASK, text)


def _known_values() -> list[str]:
    """Return the values of this process's environment that its names call secret, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and is_secret_name(name) and not _is_path(value)
    }
    return sorted(values, key=len, reverse=True)


def _is_path(value: str) -> bool:
    """Return True for variables such as RAY_AUTH_TOKEN_PATH that only say where a secret lies."""
    return value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111
