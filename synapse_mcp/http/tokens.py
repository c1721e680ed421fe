"""The token file: who may use an HTTP server, and for what.

    tokens:
      - name: alice
        token: 8Jq0… at least 16 characters
        scopes: [read, run]
      - name: ci
        sha256: 9f86… of the token, in hexadecimal
        scopes: [read]

YAML or JSON, readable by its owner alone. A scope brings those before it: admin has run, run has read.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.server.auth.provider import AccessToken

from synapse_core.errors import InvalidConfig, did_you_mean
from synapse_core.profile import require_private
from synapse_core.yaml_lines import read_yaml
from synapse_mcp.principals import SCOPES, with_implied

log = logging.getLogger(__name__)

_KEYS = ("name", "token", "sha256", "scopes")
# Shorter ones can be tried out.
_SHORTEST = 16
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,100}")


@dataclass(frozen=True)
class TokenEntry:
    """digest: SHA-256 of the token; the token itself is not kept."""

    name: str
    digest: bytes
    scopes: tuple[str, ...]


class TokenFile:
    """Verifies bearer tokens for the SDK, by the file as it is now: a token that was taken out is nobody's.

    Raises InvalidConfig for a file that others can read, or that says something wrong, by line. Where it
    becomes such a file later, what it said before counts, and the server's log says why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._entries = read_tokens(path)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whose token it is, None where it is nobody's. Takes as long for the one as for the other."""
        self._read_again()
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        if found is None:
            return None
        # Not the token itself: it would lie about in the memory of every session.
        return AccessToken(token=found.name, client_id=found.name, scopes=list(found.scopes))

    def _read_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = read_tokens(self._path)
        except InvalidConfig as error:
            log.error("The tokens stay as they were: %s", error.message)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what is another whenever the file is another, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def read_tokens(path: Path) -> list[TokenEntry]:
    """Return the entries of a token file. Raises InvalidConfig, which never repeats a token."""
    try:
        require_private(path, "the tokens of the HTTP server")
        document = read_yaml(path.read_bytes())
    except OSError as error:
        raise InvalidConfig(
            f"The token file {path} cannot be read: {error.strerror}.",
            hint="Write it, and give --token-file its path.",
        ) from error
    problems = [(problem.line, problem.message) for problem in document.problems]
    listed = document.data.get("tokens") if isinstance(document.data, dict) else None
    entries: list[TokenEntry] = []
    if not isinstance(listed, list) or not listed:
        problems.append((1, "there should be `tokens:` with a list below it here"))
        listed = []
    for number, given in enumerate(listed):
        try:
            entries.append(_entry(given, entries))
        except ValueError as error:
            problems.append((document.line_of(("tokens", number)), f"{error}"))
    if problems:
        raise InvalidConfig(
            "; ".join(f"{path}:{line}: {message}" for line, message in problems[:5]),
            problems=[{"line": line, "message": message} for line, message in problems],
            hint="Each entry has name, scopes (read, run, admin), and token or sha256.",
        )
    return entries


def _entry(given: Any, before: list[TokenEntry]) -> TokenEntry:
    """Return one entry. Raises ValueError that says what is wrong with it."""
    if not isinstance(given, dict):
        raise ValueError("an entry is name, token or sha256, and scopes")
    if unknown := [str(key) for key in given if key not in _KEYS]:
        raise ValueError(f"an entry has no {unknown[0]!r}.{did_you_mean(unknown[0], _KEYS)}")
    name = str(given.get("name", ""))
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r} should be letters, digits, and any of . _ @ -")
    scopes = given.get("scopes")
    if not isinstance(scopes, list) or not scopes or not {*map(str, scopes)} <= {*SCOPES}:
        raise ValueError(f"scopes of {name} should be a list of any of {', '.join(SCOPES)}")
    digest = _digest(name, given)
    if any(entry.name == name or entry.digest == digest for entry in before):
        raise ValueError(f"{name} or its token stands there twice")
    return TokenEntry(name, digest, tuple(with_implied(scopes)))


def _digest(name: str, given: dict[str, Any]) -> bytes:
    if ("token" in given) == ("sha256" in given):
        raise ValueError(f"{name} should have either token or sha256")
    if "token" in given:
        token = str(given["token"])
        if len(token) < _SHORTEST:
            raise ValueError(f"the token of {name} is shorter than {_SHORTEST} characters")
        return hashlib.sha256(token.encode()).digest()
    text = str(given["sha256"])
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError(f"sha256 of {name} should be 64 hexadecimal digits")
    return bytes.fromhex(text)
