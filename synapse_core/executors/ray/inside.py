"""Ray from the inside: what a worker of a cluster can do with the cluster that it is part of."""

from __future__ import annotations

from synapse_core.environment import default_home
from synapse_core.executors.ray import gcs
from synapse_core.executors.ray.actor import RayActorExecutor
from synapse_core.executors.ray.cluster import RayCluster


def executor_inside() -> RayActorExecutor:
    """Return an executor on the cluster of which this process is a worker."""
    import ray  # it is loaded: this is one of its workers

    address = gcs.plain(ray.get_runtime_context().gcs_address)
    return RayActorExecutor(cluster=RayCluster(default_home(), address))
