"""Runs on Ray: a home's cluster, the executors of modes 'task' and 'job'. Importing this imports no Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synapse_core.executors.ray.actor import RayActorExecutor
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster
from synapse_core.executors.ray.job import RayJobExecutor, RayJobsApiExecutor
from synapse_core.executors.ray.job_runs import RayJobRuns

if TYPE_CHECKING:
    from synapse_core.pipelines.executor import RayPipelineExecutor

__all__ = [
    "RayActorExecutor",
    "RayPipelineExecutor",
    "RayJobExecutor",
    "RayJobsApiExecutor",
    "RayJobRuns",
    "RayCluster",
    "ClusterStatus",
]


def __getattr__(name: str) -> Any:
    if name != "RayPipelineExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It stands on runs, which stand on executors: only whoever asks for it needs both.
    from synapse_core.pipelines.executor import RayPipelineExecutor

    return RayPipelineExecutor
