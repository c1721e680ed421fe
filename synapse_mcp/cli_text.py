"""Texts of others, as they may be printed by rich on a terminal."""

from __future__ import annotations

from rich.markup import escape

from synapse_core.plain_text import plain


def unmarked(text: object) -> str:
    """Return a text that is shown as it is: neither a style of rich nor a command of the terminal."""
    return escape(plain(str(text)))
