"""Texts of others, a file's name or what a plugin prints, as they may stand in a log or on a terminal."""

from __future__ import annotations

import re

# Colours, movements and titles: what a terminal takes for a command.
_COMMAND = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # a control sequence
    "|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)"  # such as a window's title
)
# Control characters but for tab and line end, other ends of lines, what makes a text read otherwise than it
# is, and halves of characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_END = "\n"


def plain(text: str) -> str:
    """Return a text without terminal commands, and with other control characters spelt out; lines stay."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(_spelt, _COMMAND.sub("", text.replace("\r\n", _LINE_END)))


def plain_lines(text: str, indent: str) -> str:
    """Return a plain text whose second line and the ones after it are indented: none passes for a first."""
    return plain(text).replace(_LINE_END, f"{_LINE_END}{indent}")


def spelt_out(text: str) -> str:
    """Return a text on one line, with every sign that cannot be printed spelt out; no two become alike."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _spelt(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
