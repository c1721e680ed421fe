"""A home: the folder of one user's runs, and everything that works on it, put together in one place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_core.backend_choice import open_backend
from synapse_core.executors import Executor, ProcessExecutor
from synapse_core.executors.ray import RayActorExecutor, RayCluster, RayJobRuns
from synapse_core.profile import Profile
from synapse_core.registry import Registry
from synapse_core.releases import Releases
from synapse_core.runs import Runs

if TYPE_CHECKING:
    from synapse_core.backend import Backend
    from synapse_core.deployments.deployments import Deployments


class Home:
    """What servers, the command line and scripts share: the plugins, the runs and the cluster of a home.

    plugin_paths: where plugins are searched. ray_address: a cluster to use instead of the home's own.
    ray_token_path, ray_jobs_url: what RayCluster needs to know of that cluster besides. profile: for the
    backend, the embedded one where it names none. adopts: see Runs.
    Opening a home touches nothing but memory; Ray and the database are reached for when first needed.
    """

    def __init__(
        self,
        path: Path,
        plugin_paths: Sequence[Path] = (),
        ray_address: str | None = None,
        *,
        ray_token_path: Path | None = None,
        ray_jobs_url: str | None = None,
        profile: Profile | None = None,
        adopts: bool = True,
    ) -> None:
        self.path = path
        self.profile = profile or Profile()
        self.cluster = RayCluster(path, ray_address, token_path=ray_token_path, jobs_url=ray_jobs_url)
        releases = Releases(path / "cache" / "releases", self.open_backend)
        self.registry = Registry(plugin_paths, path / "cache" / "descriptions", releases)
        executors: dict[str, Executor] = {
            "local": ProcessExecutor(),
            "task": RayActorExecutor(cluster=self.cluster),
            "job": RayJobRuns(self.cluster),
        }
        self.runs = Runs(path, executors, profile=self.profile.name, adopts=adopts)

    @cached_property
    def deployments(self) -> Deployments:
        """The models that are deployed from this home."""
        # httpx, jwt and Serve's API: a quarter of a server's start, for what most calls are not about.
        from synapse_core.deployments.deployments import Deployments

        return Deployments(self.path, self.cluster, self.open_backend)

    def open_backend(self, *, deadline_seconds: float | None = None) -> Backend:
        """Return the backend that runs of this home use. See `synapse_core.backend_choice`."""
        return open_backend(self.path, self.profile, deadline_seconds=deadline_seconds)

    def close(self) -> None:
        """Let go of everything this process holds. Runs and the cluster go on."""
        self.registry.close()
        self.runs.close()
        self.cluster.disconnect()
