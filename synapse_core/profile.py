"""Profiles: named settings of this user, in one file that only they can read.

    default_profile: lab
    profiles:
      lab:
        backend_url: https://synapse.example
        tenant: acme
        token_path: ~/.synapse/lab.token
        ray_address: head.example:6379
        ray_token_path: ~/.synapse/ray.token
        ray_jobs_url: http://head.example:8265
        plugins: [~/plugins]
        read_only: true
        toolsets: [core, data]

Everything may be left out. The last two are switches of the MCP server, any of which may stand here; it reads
them itself. Tokens lie in files of their own, or in the environment, never in here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from synapse_core.errors import InvalidConfig, did_you_mean
from synapse_core.yaml_lines import read_yaml

_TEXTS = ("backend_url", "tenant", "token_path", "ray_address", "ray_token_path", "ray_jobs_url")
# Switches of the MCP server, which knows what they mean.
SWITCH_KEYS = (
    *("read_only", "toolsets", "tools", "exclude_tools", "allow_path", "output_schemas", "confirm", "audit"),
    *("otel", "http", "token_file", "allowed_host", "allowed_origin", "rate_limit"),
)
_KEYS = (*_TEXTS, "plugins", *SWITCH_KEYS)
_TOP_KEYS = ("default_profile", "profiles")


@dataclass(frozen=True)
class Profile:
    """name: None where no profile is in use. Paths are absolute.

    switches: of the MCP server, as they stand there: texts, numbers, true or false, or lists of texts.
    """

    name: str | None = None
    backend_url: str | None = None
    tenant: str | None = None
    token_path: Path | None = None
    ray_address: str | None = None
    ray_token_path: Path | None = None
    ray_jobs_url: str | None = None
    plugins: tuple[Path, ...] = ()
    switches: Mapping[str, Any] = field(default_factory=dict, hash=False)


def config_path() -> Path:
    """Return the file of the profiles: SYNAPSE_CONFIG, else `~/.synapse/config.yaml`."""
    return _expanded(os.environ.get("SYNAPSE_CONFIG") or "~/.synapse/config.yaml", os.environ.get("HOME"))


# Asked at every answer, for the secrets that the profiles name.
@lru_cache(maxsize=4)
def _expanded(path: str, _home: str | None) -> Path:
    return Path(path).expanduser()


def find_profile(name: str | None = None) -> Profile:
    """Return a profile: the one that is named, that of SYNAPSE_PROFILE, or the file's default one.

    Without any of them the empty profile.
    Raises InvalidConfig, which names the file, the line and the key, for a file that cannot be used, that
    others can read, or that has no such profile.
    """
    file = config_path()
    wanted = name or os.environ.get("SYNAPSE_PROFILE") or None
    settings = _read(file)
    wanted = wanted or settings.get("default_profile")
    if wanted is None:
        return Profile()
    profiles: Mapping[str, Any] = settings.get("profiles") or {}
    if wanted not in profiles:
        raise InvalidConfig(
            f"{file} has no profile {wanted!r}.{did_you_mean(wanted, profiles)}",
            hint=f"Add it below `profiles:` with any of {', '.join(_KEYS)}, or name none.",
        )
    entries = profiles[wanted] or {}

    def path(key: str) -> Path | None:
        return Path(entries[key]).expanduser().absolute() if key in entries else None

    return Profile(
        name=wanted,
        backend_url=entries.get("backend_url"),
        tenant=entries.get("tenant"),
        token_path=path("token_path"),
        ray_address=entries.get("ray_address"),
        ray_token_path=path("ray_token_path"),
        ray_jobs_url=entries.get("ray_jobs_url"),
        plugins=tuple(Path(folder).expanduser() for folder in entries.get("plugins", ())),
        switches={key: entries[key] for key in SWITCH_KEYS if entries.get(key) is not None},
    )


def profile_names() -> list[str]:
    """Return the names of all profiles. Raises InvalidConfig for a file that cannot be used."""
    return list(_read(config_path()).get("profiles") or {})


def secret_files(file: Path) -> tuple[Path, ...]:
    """Return the files of tokens that the profiles of a file name. Raises InvalidConfig as find_profile."""
    profiles = _read(file).get("profiles") or {}
    return tuple(
        Path(entries[key]).expanduser().absolute()
        for entries in profiles.values()
        for key in ("token_path", "ray_token_path")
        if entries and key in entries
    )


def require_private(file: Path, what: str) -> None:
    """Raise InvalidConfig where others than the owner may read or write a file."""
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise InvalidConfig(
            f"{file} ({what}) can be read or changed by others: its mode is {mode:04o}.",
            hint=f"chmod 600 {file}",
        )


def _read(file: Path) -> dict[str, Any]:
    """Return what the file says, {} where there is none, all of it checked."""
    try:
        source = file.read_bytes()
        require_private(file, "the profiles")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidConfig(f"{file} cannot be read: {error.strerror}") from error
    document = read_yaml(source)
    problems = [(problem.line, problem.message) for problem in document.problems]
    settings = document.data if isinstance(document.data, dict) else {}
    if not problems and document.data is not None and not isinstance(document.data, dict):
        problems.append((1, f"there should be {' and '.join(_TOP_KEYS)} here"))

    def complain(path: tuple[str | int, ...], message: str) -> None:
        problems.append((document.line_of(path), f"{'.'.join(map(str, path))}: {message}"))

    for key in settings:
        if key not in _TOP_KEYS:
            complain((key,), f"is no setting.{did_you_mean(key, _TOP_KEYS)}")
    if not isinstance(settings.get("default_profile"), str | None):
        complain(("default_profile",), "should be a text")
    profiles = settings.get("profiles") or {}
    if not isinstance(profiles, dict):
        complain(("profiles",), "should be names with settings below them")
        profiles = {}
    for name, entries in profiles.items():
        for key, value in (entries if isinstance(entries, dict) else {}).items():
            place = ("profiles", name, key)
            if key not in _KEYS:
                complain(place, f"is no setting.{did_you_mean(key, _KEYS)}")
            elif key == "plugins":
                if not _is_list_of_texts(value):
                    complain(place, "should be a list of folders")
            elif key in SWITCH_KEYS:
                if not (isinstance(value, str | bool | int | float | None) or _is_list_of_texts(value)):
                    complain(place, "should be a text, a number, true, false or a list of texts")
            elif not isinstance(value, str):
                complain(place, "should be a text")
        if not isinstance(entries, dict | None):
            complain(("profiles", name), "should be settings, `backend_url: …` for example")
    if problems:
        raise InvalidConfig(
            "; ".join(f"{file}:{line}: {message}" for line, message in problems[:5]),
            problems=[{"line": line, "message": message} for line, message in problems],
            hint="Correct the file; the README shows every key.",
        )
    return settings


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
