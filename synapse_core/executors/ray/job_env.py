"""The surroundings of a Ray job: its runtime_env, and the command that is its entrypoint."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synapse_core.errors import InvalidRequest, did_you_mean
from synapse_core.executors.ray.job_server import JobServer
from synapse_core.executors.ray.package import pack, package_name
from synapse_core.executors.supervised import CLEARING_SECONDS
from synapse_core.run_folder import Packages, RunFolder, RunRequest
from synapse_core.supervisor import GRACE_SECONDS

# The exit code of an entrypoint on a node that does not have the run's folder (EX_NOINPUT of sysexits.h).
NO_FOLDER = 66

_SDK = Path(__file__).parents[2]
# Fields of a runtime_env that choose the Python of the job themselves.
_PYTHONS = ("pip", "uv", "conda", "image_uri", "container")
# Source: Ray's documentation, "Runtime environments", release 2.60.
_FIELDS = (
    *_PYTHONS,
    *("working_dir", "py_modules", "py_executable", "excludes", "env_vars", "config"),
    *("worker_process_setup_hook", "java_jars", "nsight", "rocprof_sys"),
)


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return runtime_envs as one: a later one wins, `env_vars` name by name, and as to which Python it is.

    Raises InvalidRequest for a field that Ray does not know, or a value of the wrong form.
    """
    whole: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for part in parts:
        for name in part:
            if name not in _FIELDS:
                raise InvalidRequest(
                    f"runtime_env has no field {name!r}.{did_you_mean(name, _FIELDS)}",
                    hint=f"Its fields are {', '.join(_FIELDS)}.",
                )
        given = part.get("env_vars") or {}
        if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
            raise InvalidRequest(
                "runtime_env.env_vars holds a value that is no text.", hint="Put numbers into quotes."
            )
        if any(part.get(name) for name in _PYTHONS):
            whole = {name: value for name, value in whole.items() if name not in _PYTHONS}
        whole.update(part)
        variables.update(given)
    if variables:
        whole["env_vars"] = variables
    return whole


def runtime_env(request: RunRequest, server: JobServer | None, *, skip_satisfied: bool) -> dict[str, Any]:
    """Return the runtime_env of a run's job.

    What `runtime_env` says of the job's Python replaces the plugin's own requirements. What the request
    ships is uploaded to `server`, once for each content; None leaves it out, to check the rest.
    Raises InvalidRequest where it cannot be used, RayUnavailable where the server cannot be.
    """
    env = merged(request.runtime_env)
    root = Path(request.root)
    if "://" not in str(env.get("working_dir", "://")):
        raise InvalidRequest(
            f"runtime_env.working_dir names {env['working_dir']!r}, which is no address such as s3://….",
            hint="Leave it out: the plugin's folder is found, or shipped, without it.",
        )
    for name in ("pip", "uv"):
        if name in env:
            env[name] = _installed(name, env[name], root)
            if not env[name]["packages"]:
                del env[name]  # Ray makes no Python for it, so the job gets ours
    if not any(env.get(name) for name in _PYTHONS):
        env.update(_packages_env(root, request.packages, skip_satisfied))
    env["env_vars"] = {
        # Ray kills what it stops after 3 s; rollbacks have longer.
        "RAY_JOB_STOP_WAIT_TIME_S": str(int(GRACE_SECONDS + CLEARING_SECONDS)),
        **env.get("env_vars", {}),
    }
    if server is None:
        return env
    if "plugin" in request.ships:
        env["working_dir"] = _shipped(root, server)
    modules = [one if "://" in one else _shipped(root / one, server) for one in env.get("py_modules") or ()]
    if "sdk" in request.ships:
        modules.insert(0, _shipped(_SDK, server))
    if modules:
        env["py_modules"] = modules
    return env


def entrypoint(folder: RunFolder, request: RunRequest, env: Mapping[str, Any]) -> str:
    """Return the command of a run's job, for a shell: the supervisor of the run, on the run's folder.

    It is this Python where its path exists on the node and the job has no Python of its own. What the run
    prints goes to the run's log; Ray's log would not take every byte, and is forgotten.
    """
    path = shlex.quote(str(folder.path))
    chosen = "python=python"
    if not any(env.get(name) for name in _PYTHONS):
        here = shlex.quote(sys.executable)
        chosen = f'python={here}; [ -x "$python" ] || python=$(command -v python3 || echo python)'
    # Ray makes what was shipped the current directory.
    shipped = f' "$PWD"/{shlex.quote(Path(request.root).name)}' if "plugin" in request.ships else ""
    return (
        f'[ -d {path} ] || {{ echo "This node does not have "{path}; exit {NO_FOLDER}; }}; '
        f'echo "The log of this run is "{path}/output.log; {chosen}; '
        # -P: what lies in the current directory must not shadow the plugin's modules.
        f'exec "$python" -P -m synapse_core.supervisor {path}{shipped} </dev/null >>{path}/output.log 2>&1'
    )


def _packages_env(root: Path, packages: Packages, skip_satisfied: bool) -> dict[str, Any]:
    from synapse_core.executors.ray.requirements import packages_env  # packaging: 30 ms that only jobs need

    return packages_env(root, packages, skip_satisfied=skip_satisfied)


def _installed(name: str, given: Any, root: Path) -> dict[str, Any]:
    """Return what is to be installed in Ray's long form; given: it, a list, or a requirements file."""
    if isinstance(given, str):
        found = _packages_env(root, Packages(name, requirements_file=given), False)
        return dict(found.get(name) or {"packages": []})
    packages = given.get("packages") if isinstance(given, Mapping) else given
    if not isinstance(packages, list | tuple) or not all(isinstance(one, str) for one in packages):
        raise InvalidRequest(
            f"runtime_env.{name} should be a list of requirements, a requirements file, or a mapping with "
            f"'packages'; it is {given!r}."
        )
    return {**(given if isinstance(given, Mapping) else {}), "packages": list(packages)}


def _shipped(root: Path, server: JobServer) -> str:
    if not root.is_dir():
        raise InvalidRequest(f"{root} is to be shipped to the cluster and is no folder.")
    return server.upload(package_name(root), lambda: pack(root))
