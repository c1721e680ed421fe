"""Ray from the inside: what a worker of a cluster can do with the cluster that it is part of."""

from __future__ import annotations

from synapse_core.environment import default_home
from synapse_core.executors.ray import gcs
from synapse_core.executors.ray.actor import RayActorExecutor
from synapse_core.executors.ray.cluster import RayCluster

# What a coordinator keeps warm for its next pipeline: more could be what another run is waiting for.
_KEPT = 1


class InsideExecutor(RayActorExecutor):
    """Runs actions on the cluster of which this process is a worker."""

    def __init__(self) -> None:
        import ray  # it is loaded: this is one of its workers

        address = gcs.plain(ray.get_runtime_context().gcs_address)
        super().__init__(cluster=RayCluster(default_home(), address))

    def rest(self) -> None:
        """Let go of workers that only a next pipeline would need."""
        self._pool.rest(_KEPT)
