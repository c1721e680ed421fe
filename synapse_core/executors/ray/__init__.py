"""Runs on Ray: the cluster of a home, and the executor of mode 'task'. Importing this imports no Ray."""

from synapse_core.executors.ray.actor import RayActorExecutor
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster

__all__ = ["RayActorExecutor", "RayCluster", "ClusterStatus"]
