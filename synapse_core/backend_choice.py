"""Which backend a process uses: the profile's, that of the environment, or the one embedded in the home."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_core.errors import BackendUnauthorized, Unavailable
from synapse_core.profile import Profile, find_profile, require_private

if TYPE_CHECKING:
    from synapse_core.backend import Backend


def backend_address(profile: Profile, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the URL of the backend in use, None for the embedded one."""
    return profile.backend_url or environment.get("SYNAPSE_HOST") or None


def open_backend(
    home: Path | None,
    profile: Profile,
    environment: Mapping[str, str] = os.environ,
    *,
    deadline_seconds: float | None = None,
) -> Backend:
    """Return the backend in use. Nothing is connected to before its first call.

    home: where the embedded backend keeps its records; None where this process has no access to it.
    environment: SYNAPSE_HOST, SYNAPSE_TENANT and SYNAPSE_ACCESS_TOKEN fill what the profile leaves open.
    deadline_seconds: how long a call may take with all its repetitions; no limit but those of each request
        where it is left out.
    Raises Unavailable where there is neither an address nor a home.
    """
    url = backend_address(profile, environment)
    if url is not None:
        from synapse_core.backend.http import HttpBackend  # httpx: 60 ms for who needs no service

        return HttpBackend(
            url,
            lambda: read_token(profile, environment),
            tenant=profile.tenant or environment.get("SYNAPSE_TENANT") or None,
            deadline_seconds=deadline_seconds,
        )
    if home is None:
        raise Unavailable(
            "The embedded backend lies on the disk of the machine where the run was submitted, and this run "
            "is on another one.",
            hint="Serve it with `python -m synapse_core.backend.service` and set SYNAPSE_HOST, or "
            "backend_url of a profile, to its address.",
        )
    from synapse_core.backend.local import LocalBackend  # SQLAlchemy: 0.2 s for who needs no backend

    return LocalBackend(home)


def read_token(profile: Profile, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token for the backend: that of the profile's file, else SYNAPSE_ACCESS_TOKEN.

    Raises BackendUnauthorized where the file cannot be read; InvalidConfig where others can read it.
    """
    if profile.token_path is None:
        return environment.get("SYNAPSE_ACCESS_TOKEN") or None
    try:
        require_private(profile.token_path, "the backend's token")
        return profile.token_path.read_text().strip()
    except OSError as error:
        raise BackendUnauthorized(
            f"The token of the backend cannot be read from {profile.token_path}: {error.strerror}.",
            hint="Put the token there, readable by you alone, or correct token_path of the profile.",
        ) from error


class BackendOnDemand:
    """Stands for a backend that is opened when it is first used: most actions never ask for theirs."""

    def __init__(self, opener: Callable[[], Backend]) -> None:
        self._opener = opener
        self._opened: Backend | None = None
        self._opening = threading.Lock()

    @classmethod
    def of_environment(cls, home: Path, environment: Mapping[str, str]) -> BackendOnDemand:
        """Return the backend of this user's profile and environment."""
        return cls(lambda: open_backend(home, find_profile(), environment))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with self._opening:
            if self._opened is None:
                self._opened = self._opener()
        return getattr(self._opened, name)

    def close(self) -> None:
        """Close what was opened, if anything."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
