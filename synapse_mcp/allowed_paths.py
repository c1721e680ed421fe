"""Which folders paths of tool arguments may lead into: those of --allow-path, and over HTTP the home."""

from __future__ import annotations

from pathlib import Path

from synapse_core.errors import InvalidRequest
from synapse_core.run_folder import RunFolder
from synapse_mcp.principals import Principal, current_principal
from synapse_mcp.settings import Settings

# What of the home a token without admin may name; of the runs, its own.
_SHARED = ("plugins", "datasets")


def allowed(settings: Settings, path: str) -> str:
    """Return a path in full, where it may be used; a URL as it is.

    Where there are limits, symbolic links are resolved, and the path without them is what is returned: what
    was looked at is what is used.
    Raises InvalidRequest where it leads out of the allowed folders.
    """
    if "\0" in path or not path.strip():
        raise InvalidRequest(f"{path!r} is no path.", hint="Give the path of a folder or file.")
    is_url = "://" in path
    found = path if is_url else str(Path(path).expanduser().absolute())
    roots = settings.allowed_paths
    if not roots:
        return found
    resolved = Path(found).resolve()
    within = [root for root in roots if not is_url and resolved.is_relative_to(root)]
    if not within:
        raise InvalidRequest(
            f"{path} lies outside the folders that this server may use: {', '.join(map(str, roots))}.",
            hint="Use a path in one of them, or start the server with another --allow-path.",
        )
    principal = current_principal()
    if principal is not None and not principal.is_admin and within == [settings.home]:
        _check_own(settings.home, resolved, principal, path)
    return str(resolved)


def _check_own(home: Path, resolved: Path, principal: Principal, path: str) -> None:
    """Raise InvalidRequest where a path in the home is neither for all nor of a run of this principal."""
    folder, *rest = (*resolved.relative_to(home).parts, "")
    if folder in _SHARED:
        return
    if folder == "runs" and rest[0]:
        request = RunFolder(home / "runs" / rest[0]).request()
        if request is not None and request.principal == principal.name:
            return
    raise InvalidRequest(
        f"{path} lies outside the folders that {principal.name!r} may use.",
        hint=f"In {home} that are {', '.join(_SHARED)} and the folders of your own runs.",
    )
