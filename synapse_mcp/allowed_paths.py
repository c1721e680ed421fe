"""Which folders datasets may be read from and written to, where the server was started with --allow-path."""

from __future__ import annotations

from pathlib import Path

from synapse_core.errors import InvalidRequest
from synapse_mcp.settings import Settings


def allowed(settings: Settings, path: str) -> str:
    """Return a path in full, where it may be used; a URL as it is.

    Raises InvalidRequest where it leads out of the allowed folders, symbolic links resolved.
    """
    if "\0" in path or not path.strip():
        raise InvalidRequest(f"{path!r} is no path.", hint="Give the path of a folder or file.")
    is_url = "://" in path
    found = path if is_url else str(Path(path).expanduser().absolute())
    roots = settings.allowed_paths
    if not roots:
        return found
    if is_url or not any(Path(found).resolve().is_relative_to(root) for root in roots):
        raise InvalidRequest(
            f"{path} lies outside the folders that this server may use: {', '.join(map(str, roots))}.",
            hint="Use a path in one of them, or start the server with another --allow-path.",
        )
    return found
