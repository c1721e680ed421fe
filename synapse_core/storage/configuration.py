"""What a provider is told: its settings, what each may be, and which of them are secret.

A value that is secret is never shown, not even a wrong one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from synapse_core.errors import InvalidStorageName, StorageConfigError, did_you_mean
from synapse_core.storage.names import shown

Configuration = Mapping[str, Any]

_MOST_PORT = 65535
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[?[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Setting:
    """One key of a configuration.

    allowed: what it may be, in words.
    check: returns the value to use; raises ValueError for one that is not allowed.
    is_required: it has to be there, and not be empty; otherwise `default` stands in.
    """

    name: str
    allowed: str
    check: Callable[[Any], Any]
    default: Any = None
    is_required: bool = False
    is_secret: bool = False


def read_configuration(provider: str, settings: Sequence[Setting], given: Any) -> dict[str, Any]:
    """Return every setting with its value. Keys that the provider does not know give a UserWarning.

    Raises StorageConfigError, which names the key and what is allowed.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise StorageConfigError(
            f"The configuration of a storage of provider {provider!r} is no mapping: {type(given).__name__}.",
            {"provider": provider},
        )
    known = [setting.name for setting in settings]
    for key in given:
        if key not in known:
            warnings.warn(
                f"Storage provider {provider!r} does not know the setting {shown(key)}; it is ignored."
                f"{did_you_mean(str(key), known)} It knows {', '.join(known)}.",
                UserWarning,
                stacklevel=3,
            )
    return {setting.name: _value(provider, setting, given.get(setting.name)) for setting in settings}


def secrets_of(settings: Sequence[Setting], configuration: Configuration) -> tuple[str, ...]:
    """Return the secret texts of a configuration, the longest first, so that no text may show them."""
    found = {
        text for setting in settings if setting.is_secret for text in _texts(configuration[setting.name])
    }
    # A shorter one says nothing, and would blot out the words around it.
    return tuple(sorted((text for text in found if len(text) > 3), key=len, reverse=True))


def text(value: Any) -> str:
    """Check a text that is not empty."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return value


def word(value: Any) -> str:
    """Check a text without blanks and control characters."""
    if _CONTROL.search(text(value)):
        raise ValueError
    return str(value)


def bucket(value: Any) -> str:
    """Check the name of a bucket."""
    if not _BUCKET.fullmatch(text(value)):
        raise ValueError
    return str(value)


def host(value: Any) -> str:
    """Check a name or an address of a host, without a port."""
    if not _HOST.fullmatch(text(value)):
        raise ValueError
    return str(value).strip("[]")


def port(value: Any) -> int:
    """Check the number of a port, as a number or in digits."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= _MOST_PORT:
        raise ValueError
    return number


def seconds(value: Any) -> float:
    """Check a length of time above zero, at most one hour."""
    number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    if not 0 < number <= 3600:
        raise ValueError
    return number


def check_path(value: Any) -> str:
    """Check an absolute path, as another machine has it."""
    if (
        not text(value).startswith("/")
        or _DOTS.search(value)
        or "//" in value
        or "\\" in value
        or not value.isprintable()
    ):
        raise ValueError
    return str(value)


def web_url(value: Any) -> str:
    """Check the URL of a place on the web, and return it with a slash at its end.

    It has a host, and nothing that hides another one or a secret: no user, no query, no `..`.
    """
    if _CONTROL.search(text(value)):
        raise ValueError
    parts = urlsplit(value)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError
    if "?" in value or "#" in value or "//" in parts.path or _DOTS.search(parts.path):
        raise ValueError
    if parts.port == 0 or not _HOST.fullmatch(parts.hostname):
        raise ValueError
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}/"


def _value(provider: str, setting: Setting, value: Any) -> Any:
    is_empty = value is None or (isinstance(value, str | Mapping) and not value)
    if is_empty and not setting.is_required:
        return setting.default
    try:
        if is_empty:
            raise ValueError
        return setting.check(value)
    except (ValueError, TypeError, InvalidStorageName):
        was = "is missing or empty" if is_empty else "cannot be used"
        # Somebody may have put a user and a password into a URL.
        is_hidden = is_empty or setting.is_secret or "@" in str(value)
        it = "" if is_hidden else f": it is {shown(value)}"
        raise StorageConfigError(
            f"The setting {setting.name!r} of a storage of provider {provider!r} {was}{it}. "
            f"Allowed is {setting.allowed}.",
            {"provider": provider, "key": setting.name, "allowed": setting.allowed},
            # The cause would show what was given.
        ) from None


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _texts(part)]
    return [value] if isinstance(value, str) else []
