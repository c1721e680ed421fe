"""What a deployment asks of a cluster against what the cluster has, before anything is changed."""

from __future__ import annotations

from synapse_core.deployments.plan import Plan
from synapse_core.deployments.serve_server import Served
from synapse_core.errors import InvalidRequest
from synapse_core.executors.ray.capacity import check_fits, workers_at_once
from synapse_core.executors.ray.cluster import ClusterStatus


def check_room(plan: Plan, status: ClusterStatus, applications: dict[str, Served]) -> None:
    """Raise InvalidRequest where the replicas could never start: on no cluster of this size, or not beside
    the version that serves, which goes on until the new one has answered.
    """
    replicas = plan.replicas or 1
    check_fits(plan.resources, status, "Each replica")
    most = workers_at_once(plan.resources, status) if status.nodes else replicas
    if replicas > most:
        raise InvalidRequest(
            f"{replicas} replicas are asked for; the cluster can hold {most} of them.",
            {"replicas": replicas, "most": most},
            hint="Ask for fewer replicas, or for less for each of them.",
        )
    wanted = replicas * (plan.resources.num_gpus or 0)
    is_replacing = any(
        each.is_live and each.plan and each.plan.name == plan.name for each in applications.values()
    )
    if is_replacing and status.free_gpus is not None and wanted > status.free_gpus:
        raise InvalidRequest(
            f"The new version needs {wanted:g} GPUs beside the one that serves, and {status.free_gpus:g} of "
            f"{status.gpus or 0:g} are free.",
            {"asked": wanted, "free": status.free_gpus},
            hint="delete_deployment first, then deploy: nothing serves in between.",
        )
