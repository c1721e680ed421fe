"""Ray from the inside: what a worker of a cluster can do with the cluster that it is part of."""

from __future__ import annotations

import time
from pathlib import Path

from synapse_core.environment import default_home
from synapse_core.executors.base import Notify
from synapse_core.executors.ray import gcs
from synapse_core.executors.ray.actor import RayActorExecutor
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster

# How long what the cluster has is taken for true. That it is there is sure: this process lives on it.
_BELIEVED_SECONDS = 5.0


def executor_inside() -> RayActorExecutor:
    """Return an executor on the cluster of which this process is a worker."""
    import ray  # it is loaded: this is one of its workers

    address = gcs.plain(ray.get_runtime_context().gcs_address)
    return RayActorExecutor(cluster=_SurroundingCluster(default_home(), address))


class _SurroundingCluster(RayCluster):
    """The cluster of which this process is a worker; asking it before each action would take milliseconds."""

    def __init__(self, home: Path, address: str) -> None:
        super().__init__(home, address)
        self._seen: tuple[float, ClusterStatus] | None = None

    def connect(self, notify: Notify | None = None) -> ClusterStatus:
        now = time.monotonic()
        if self._seen is None or now - self._seen[0] > _BELIEVED_SECONDS:
            self._seen = now, super().connect(notify)
        return self._seen[1]
