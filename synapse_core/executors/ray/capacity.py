"""What a run asks of a cluster against what the cluster has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from synapse_core.errors import InvalidRequest
from synapse_core.executors.ray.cluster import ClusterStatus
from synapse_core.run_folder import Resources

DEFAULT_CPUS = 1.0
# How many workers that ask for nothing may run at a time.
_MOST_WITHOUT_RESOURCES = 32
_NAMES = MappingProxyType({"CPU": "CPUs", "GPU": "GPUs", "memory": "bytes of memory"})


def asked_of(resources: Resources) -> dict[str, float]:
    """Return what a run asks for by Ray's names, without what it asks nothing of."""
    asked = {
        "CPU": DEFAULT_CPUS if resources.num_cpus is None else resources.num_cpus,
        "GPU": resources.num_gpus or 0.0,
        "memory": float(resources.memory or 0),
    }
    return {name: amount for name, amount in asked.items() if amount}


def check_fits(resources: Resources, status: ClusterStatus, who: str = "The run") -> None:
    """Raise InvalidRequest where no node of the cluster could ever give what is asked for.

    who: begins the sentence. A cluster that has not been started lets everything pass; it is asked again
    once it runs.
    """
    asked = asked_of(resources)
    if not status.nodes or any(_fits(asked, node) for node in status.nodes):
        return
    most = {name: max(node.get(name, 0.0) for node in status.nodes) for name in asked}
    short = [name for name in asked if asked[name] > most[name]] or list(asked)
    wanted = " and ".join(f"{asked[name]:,.10g} {_NAMES[name]}" for name in short)
    there = " and ".join(f"{most[name]:,.10g} {_NAMES[name]}" for name in short)
    if all(asked[name] <= most[name] for name in short):
        there += ", but no single node has all of that"
    raise InvalidRequest(
        f"{who} asks for {wanted}; the largest node of the cluster has {there}.",
        {"asked": asked, "largest_node": most, "cluster": _sum(status)},
        hint="Ask for less (resources of the call, or of the action in config.yaml), or use a cluster "
        "that has more.",
    )


def workers_at_once(resources: Resources, status: ClusterStatus) -> int:
    """Return how many workers of this kind the cluster can hold at the same time; at least one."""
    asked = asked_of(resources)
    if not asked:
        return _MOST_WITHOUT_RESOURCES
    return max(
        1, sum(min(int(node.get(name, 0.0) // asked[name]) for name in asked) for node in status.nodes)
    )


def waiting_reason(resources: Resources, status: ClusterStatus, ahead: int = 0) -> str:
    """Return in words why a run has not begun. ahead: how many runs of this process come before it."""
    need = f"{DEFAULT_CPUS if resources.num_cpus is None else resources.num_cpus:g} CPU"
    if resources.num_gpus:
        need += f" and {resources.num_gpus:g} GPU"
    if resources.memory:
        need += f" and {resources.memory:,} bytes of memory"
    reason = f"waiting for a Ray worker with {need}"
    if status.free_cpus is not None:
        reason += f"; free now: {status.free_cpus:g} of {status.cpus or 0:g} CPUs"
        if resources.num_gpus:
            reason += f" and {status.free_gpus or 0:g} of {status.gpus or 0:g} GPUs"
    if ahead:
        reason += f"; {ahead} {'run is' if ahead == 1 else 'runs are'} ahead of it"
    return reason


def _fits(asked: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in asked.items())


def _sum(status: ClusterStatus) -> dict[str, float]:
    return {name: sum(node.get(name, 0.0) for node in status.nodes) for name in _NAMES}
