"""get_status: whether everything that a run needs is there."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, ClassVar

import msgspec
from mcp.server.mcpserver import Context

from synapse_core import __version__
from synapse_core.backend_choice import backend_address
from synapse_core.describe import Issue
from synapse_core.errors import BackendError, InvalidConfig
from synapse_core.home import Home
from synapse_core.registry import Plugin
from synapse_mcp.app import App
from synapse_mcp.checks import Problem, cheap_problems
from synapse_mcp.lookup import app_of
from synapse_mcp.settings import Settings

# A backend that is down must not keep the rest of the answer back.
_BACKEND_SECONDS = 1.5


class RayRecord(msgspec.Struct, omit_defaults=True):
    state: str
    message: str
    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None
    free: dict[str, float] | None = None


class Status(msgspec.Struct, kw_only=True):
    ok: bool
    version: str
    profile: str
    home: str
    plugin_paths: list[str]
    plugins: int
    ray: RayRecord
    backend: str
    runs: dict[str, int]
    problems: list[Problem]
    switches: list[str] | msgspec.UnsetType = msgspec.UNSET
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("problems",)


async def get_status(ctx: Context[App, Any]) -> Status:
    """What works here, and each problem with its fix."""
    app = app_of(ctx)
    return await app.call(lambda home: status_of(home, app.settings))


def status_of(home: Home, settings: Settings, most_problems: int = 8) -> Status:
    """Return the state of a home. Never starts anything; fast with everything down."""
    plugins = home.registry.plugins()
    problems = cheap_problems(settings)
    problems += [
        _broken(plugin, issue) for plugin in plugins for issue in plugin.issues if issue.severity == "error"
    ]
    if not plugins:
        problems.append(
            Problem("no_plugins", "No plugin is on the plugin paths.", "Start the server with --plugins DIR.")
        )
    cluster = home.cluster.status()
    if cluster.state == "unreachable":
        problems.append(
            Problem(
                "ray_unavailable", cluster.message, cluster.fix or "Start the cluster, or drop the address."
            )
        )
    elif cluster.ray_version is not None and cluster.ray_version != version("ray"):
        problems.append(
            Problem(
                "ray_version",
                f"The cluster has Ray {cluster.ray_version}, this environment Ray {version('ray')}.",
                f"pip install 'ray=={cluster.ray_version}', or the other one on the cluster.",
            )
        )
    # A token file that others can read is found twice.
    told = {problem.fix for problem in problems}
    problems.extend(problem for problem in _backend_problems(home) if problem.fix not in told)
    free = None
    if cluster.free_cpus is not None:
        free = {"cpus": cluster.free_cpus, "gpus": cluster.free_gpus or 0}
    return Status(
        ok=not problems,
        version=__version__,
        profile=settings.profile.name or "default",
        home=str(home.path),
        plugin_paths=[str(path) for path in settings.plugin_paths],
        plugins=len(plugins),
        ray=RayRecord(
            state=cluster.state,
            message=cluster.message,
            address=cluster.address,
            cpus=cluster.cpus,
            gpus=cluster.gpus,
            free=free,
        ),
        backend=backend_address(home.profile) or "embedded",
        runs={"active": home.runs.count_active()},
        problems=problems[:most_problems],
        switches=list(settings.active) or msgspec.UNSET,
        next="Follow the fixes above." if problems else "list_plugins() shows what can be run.",
    )


def _broken(plugin: Plugin, issue: Issue) -> Problem:
    place = f" ({issue.file}:{issue.line})" if issue.file and issue.line else ""
    return Problem(
        "broken_plugin",
        f"{plugin.code}: {issue.message[:300]}{place}",
        issue.hint or f"Correct {plugin.root}/config.yaml.",
    )


def _backend_problems(home: Home) -> list[Problem]:
    """Return what keeps the backend from being used. The embedded one is there wherever the home is."""
    if backend_address(home.profile) is None:
        return []
    backend = home.open_backend(deadline_seconds=_BACKEND_SECONDS)
    try:
        backend.check()
    except (BackendError, InvalidConfig) as error:
        return [Problem(error.code, error.message, error.hint or "Correct backend_url of the profile.")]
    finally:
        backend.close()
    return []
