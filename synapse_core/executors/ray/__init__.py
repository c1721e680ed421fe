"""Runs on Ray: a home's cluster, the executors of modes 'task' and 'job'. Importing this imports no Ray."""

from synapse_core.executors.ray.actor import RayActorExecutor
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster
from synapse_core.executors.ray.job import RayJobExecutor, RayJobsApiExecutor
from synapse_core.executors.ray.job_runs import RayJobRuns

__all__ = [
    "RayActorExecutor",
    "RayJobExecutor",
    "RayJobsApiExecutor",
    "RayJobRuns",
    "RayCluster",
    "ClusterStatus",
]
