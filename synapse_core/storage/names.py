"""Names of what lies in a storage: relative, with / between their parts, and never leading out of its base.

A name is checked once, here, before any provider sees it. How a name looks in a URL is here too.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote

from synapse_core.errors import InvalidStorageName

# The least of what the providers take: a key of S3, a file name of the usual file systems.
MOST_NAME_BYTES = 1024
MOST_PART_BYTES = 255
# What is not complete yet stands beside its place under such a name, which no reader is shown.
PART_PREFIX = ".synapse-part-"

_SHOWN = 120
_DRIVE = re.compile(r"[A-Za-z]:(?:/|$)")
# Names about which nothing is left to ask: no empty part, none that begins with a dot, no unusual sign.
_IS_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_-][A-Za-z0-9_ .()@+,=~-]*/)*[A-Za-z0-9_-][A-Za-z0-9_ .()@+,=~-]*"
).fullmatch
# Control characters, line and paragraph separators, halves of characters.
_REFUSED_KINDS = frozenset(["Cc", "Zl", "Zp", "Cs"])


def check_name(name: str) -> str:
    """Return the name of a file if it is one. Raises InvalidStorageName, which says why it is none."""
    if isinstance(name, str) and len(name) < MOST_PART_BYTES and _IS_PLAIN(name):
        return name
    if not isinstance(name, str):
        raise InvalidStorageName(shown(name), "a name is a text")
    if reason := _reason(name):
        raise InvalidStorageName(shown(name), reason)
    return name


def check_folder(name: str) -> str:
    """Return the name of a folder without a slash at its end, '' for the base itself.

    '', '.' and '/' mean the base. Raises InvalidStorageName.
    """
    if name in ("", ".", "/"):
        return ""
    return check_name(name.removesuffix("/") if isinstance(name, str) else name)


def is_part(name: str) -> bool:
    """Return True for the last part of a name that stands for something incomplete."""
    return name.startswith(PART_PREFIX)


def shown(name: object) -> str:
    """Return a name as it may stand in a message: on one line, and not too long."""
    text = ascii(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def join_url(base: str, name: str, quotes: bool) -> str:
    """Return the URL of a name. base: ends with a slash. quotes: True where URLs have percent signs."""
    return base + (quote(name, safe="/~") if quotes else name)


def split_url(base: str, url: str, quotes: bool) -> str:
    """Return the name that `join_url` made a URL of. Raises InvalidStorageName where it made none such."""
    if not isinstance(url, str) or not url.startswith(base):
        raise InvalidStorageName(shown(url), f"it does not lie below {base}")
    rest = url[len(base) :]
    if not quotes:
        return check_name(rest)
    if "?" in rest or "#" in rest:
        raise InvalidStorageName(shown(url), "it has a query or a fragment")
    try:
        return check_name(unquote(rest, errors="strict"))
    except UnicodeDecodeError as error:
        raise InvalidStorageName(shown(url), "it is not UTF-8") from error


def _reason(name: str) -> str | None:
    """Return what is wrong with a name, None where nothing is."""
    if not name:
        return "it is empty"
    if name.startswith("/") or _DRIVE.match(name):
        return "it is absolute"
    if "\\" in name:
        return "it has a backslash"
    if any(unicodedata.category(sign) in _REFUSED_KINDS for sign in name):
        return "it has a control character"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, '.' or '..'"
    if any(is_part(part) for part in parts):
        return f"names that begin with {PART_PREFIX} are for what is being written"
    if len(name.encode()) > MOST_NAME_BYTES or any(len(part.encode()) > MOST_PART_BYTES for part in parts):
        return f"it is longer than {MOST_NAME_BYTES} bytes, or a part of it than {MOST_PART_BYTES}"
    return None
