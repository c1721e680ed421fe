"""Where commands print, and texts of others as they may be printed there."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from synapse_core.plain_text import plain

# Sentences are never broken, so that scripts find them; a terminal folds them itself.
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def unmarked(text: object) -> str:
    """Return a text that is shown as it is: neither a style of rich nor a command of the terminal."""
    return escape(plain(str(text)))
