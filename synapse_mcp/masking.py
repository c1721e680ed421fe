"""Keeping secrets off the wire: values that are known to be secret, and texts that look like keys.

Known are the variables of this process's environment whose names say so, the passwords in its URLs, and the
tokens in the files that the profiles name; each as it is, and in the forms in which it usually travels.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, urlsplit

import msgspec

from synapse_core.environment import is_secret_name
from synapse_core.errors import InvalidConfig
from synapse_core.profile import config_path, secret_files

MASK = "***"

# Shorter values would mask ordinary words.
_SHORTEST = 8
# Fewer letters of an encoded value could be anything.
_SHORTEST_CODE = 12
_LONGEST_FILE = 1 << 14
# (what has to be in a text for the pattern to be tried, pattern, what takes its place). A pattern that
# begins with a word, and looks behind after it, is found ten times as fast as one that looks behind first.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (needed, re.compile(pattern), put)
    for needed, pattern, put in (
        (
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
            r"gh[pousr]_(?<![A-Za-z0-9]gh._)[A-Za-z0-9]{30,}",
            MASK,
        ),
        (("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}", MASK),
        (("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}", MASK),
        (("sk-",), r"sk-(?<![A-Za-z0-9_-]sk-)[A-Za-z0-9_-]{20,}", MASK),
        (("sk_live_", "rk_live_", "sk_test_"), r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_[A-Za-z0-9]{16,}", MASK),
        (("AKIA", "ASIA"), r"(?<![A-Za-z0-9])A(?:KI|SI)A[0-9A-Z]{16}(?![A-Za-z0-9])", MASK),
        (
            ("aws_secret", "AWS_SECRET", "SecretAccessKey"),
            r"((?:(?i:aws_secret_access_key)|SecretAccessKey)[\"']?\s*[=:]\s*[\"']?)[A-Za-z0-9/+=]{40}",
            r"\1" + MASK,
        ),
        (("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}", MASK),
        (("AIza",), r"AIza[0-9A-Za-z_-]{35}", MASK),
        (("ya29.",), r"ya29\.[0-9A-Za-z_-]{20,}", MASK),
        (("hf_",), r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}", MASK),
        (("npm_",), r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}", MASK),
        (("pypi-",), r"pypi-AgE[A-Za-z0-9_-]{40,}", MASK),
        (("eyJ",), r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}", MASK),
        (
            ("PRIVATE KEY-----",),
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            # The end of a key whose beginning was cut off.
            r"|(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/=]{16,100}(?:\r?\n|\\n)){1,60}"
            r"-----END [A-Z ]*PRIVATE KEY-----",
            MASK,
        ),
        (("earer",), r"(earer(?<=[Bb]earer)\s+)[A-Za-z0-9._~+/-]{12,}=*", r"\1" + MASK),
        (
            ("uthorization", "UTHORIZATION"),
            r"((?i:authorization)[\"']?\s*[=:]\s*[\"']?(?:(?i:basic|token|digest)\s+)?)"
            r"(?!(?i:bearer)\b)[A-Za-z0-9._~+/-]{12,}=*",
            r"\1" + MASK,
        ),
        (("://",), r"(://[^\s/:@\"'<>]{0,80}:)[^\s/@\"'<>]{1,200}(?=@)", r"\1" + MASK),
        (
            ("ken=", "key=", "Key=", "ord=", "ret=", "ure=", "sig="),
            r"([?&](?i:access_token|token|api_?key|password|secret|client_secret|signature|sig"
            r"|x-amz-signature|x-amz-security-token|x-goog-signature)=)[^&\s\"'<>\\]{6,}",
            r"\1" + MASK,
        ),
    )
)
# Nearly every text has none of these.
_SIGNS: tuple[str, ...] = tuple(sign for needed, _, _ in _SHAPES for sign in needed if not sign.endswith("="))
_SIGNS_OF_QUERIES: tuple[str, ...] = tuple(
    sign for needed, _, _ in _SHAPES for sign in needed if sign.endswith("=")
)
_MULTILINE_KEY = 2


def masked(text: str) -> str:
    """Return the text with every known or secret-shaped value replaced by ***."""
    return _masked(text, known_forms())


def masked_data(value: Any) -> Any:
    """Return plain JSON data with every text in it masked, keys included."""
    known = known_forms()
    # Nearly every answer is clean, which one look at all of it tells.
    if _is_clean(_as_json(value), known):
        return value

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return _masked(value, known)
        if isinstance(value, dict):
            return {_masked(str(key), known): walk(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [walk(entry) for entry in value]
        return value

    return walk(value)


def _as_json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(value, ensure_ascii=False)


class MaskingFormatter(logging.Formatter):
    """Lines of the server's own log: an exception's text may hold what must not be told."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _masked(text: str, known: tuple[str, ...]) -> str:
    if _is_clean(text, known):
        return text
    for value in known:
        text = text.replace(value, MASK)
    for needed, pattern, put in _SHAPES:
        if any(sign in text for sign in needed):
            text = pattern.sub(put, text)
    return text


def _is_clean(text: str, known: tuple[str, ...]) -> bool:
    """Tell at a look that nothing in a text, or in the JSON of one, is to be masked."""
    for value in known:
        if value in text:
            return False
    for sign in _SIGNS:
        if sign in text:
            return False
    return "=" not in text or not any(sign in text for sign in _SIGNS_OF_QUERIES)


def known_forms() -> tuple[str, ...]:
    """Return what is known to be secret at this moment, in every form, the longest first."""
    # The interpreter's own dictionary, where it has one: reading `os.environ` takes fifty times as long.
    environment = _environment(tuple(getattr(os.environ, "_data", os.environ).items()))
    return _forms(tuple(sorted({*environment.secrets, *_of_profiles(environment.config)})))


@lru_cache(maxsize=4)
def _forms(values: tuple[str, ...]) -> tuple[str, ...]:
    forms = {form for value in values for form in _forms_of(value)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _forms_of(value: str) -> Iterator[str]:
    yield value
    # As it stands in JSON, in an address, and line by line where it is a key of several.
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (quote(value, safe=""), quote(value), quote_plus(value))
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_CODE * _MULTILINE_KEY)
    data = value.encode("utf-8", "surrogateescape")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # Inside of a longer text, `user:token` for one, it begins at any of three places of the code.
        for before in range(3):
            code = encode(bytes(before) + data).decode().rstrip("=")
            inner = code[(0, 2, 3)[before] : len(code) - (1 if (before + len(data)) % 3 else 0)]
            if len(inner) >= _SHORTEST_CODE:
                yield inner
    if len(data) >= _SHORTEST_CODE:
        yield data.hex()


class _Environment(NamedTuple):
    """What the variables of this process say: which secrets there are, and which file has the profiles."""

    secrets: tuple[str, ...]
    config: Path


@lru_cache(maxsize=4)
def _environment(_variables: tuple[tuple[str | bytes, str | bytes], ...]) -> _Environment:
    """Return what the variables say; looked for anew where any of them is another."""
    return _Environment(tuple(_of_variables()), config_path())


def _of_variables() -> Iterator[str]:
    for name, value in os.environ.items():
        if is_secret_name(name):
            if len(value) >= _SHORTEST and not _is_path(value):
                yield value
        elif "://" in value and (password := _password(value)):
            yield password


def _password(address: str) -> str | None:
    """Return the password of an address, None where there is none that can be looked for."""
    try:
        password = urlsplit(address).password
    except ValueError:
        return None  # no address after all
    return password if password and len(password) >= _SHORTEST else None


def _of_profiles(config: Path) -> Iterator[str]:
    """Yield the tokens of all profiles: which of them is in use is not known here."""
    for file in _token_files(*_stamp(config)):
        content = _content(*_stamp(file))
        if len(content) >= _SHORTEST:
            yield content


@lru_cache(maxsize=4)
def _token_files(file: Path, _changed: int) -> tuple[Path, ...]:
    try:
        return secret_files(file)
    except InvalidConfig:
        return ()  # where it is used it is refused with all that is wrong with it


@lru_cache(maxsize=64)
def _content(file: Path, changed: int) -> str:
    if not changed:
        return ""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as opened:
            return opened.read(_LONGEST_FILE).strip()
    except OSError:
        return ""


def _stamp(file: Path) -> tuple[Path, int]:
    """Return a file and when it changed, 0 where it is not there: read again only where it is another."""
    # Most homes have no profiles: asking for what is not there costs four times as much as this look.
    if not os.access(file, os.F_OK):
        return file, 0
    try:
        return file, file.stat().st_mtime_ns
    except OSError:
        return file, 0


def _is_path(value: str) -> bool:
    """Return True for variables such as RAY_AUTH_TOKEN_PATH that only say where a secret lies."""
    return value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111
