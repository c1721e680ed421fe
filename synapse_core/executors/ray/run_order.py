"""What a worker on Ray is told to do, and how one is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synapse_core.executors.ray.capacity import DEFAULT_CPUS
from synapse_core.run_folder import Resources

NAMESPACE = "synapse"


@dataclass(frozen=True)
class RunOrder:
    """A run for a worker.

    path: the run's folder in the home. environment: variables of the submitter, secrets among them: they
    travel as an argument, which Ray lists nowhere. home_node: the id of a node on which the home's disk is.
    wanted: a file that is touched while runs wait for a worker; None where this one holds nothing of theirs.
    """

    path: str
    environment: Mapping[str, str]
    home_node: str
    wanted: str | None


def worker_name() -> str:
    return f"worker-{secrets.token_hex(6)}"


def actor_options(resources: Resources, name: str, *, detached: bool) -> dict[str, Any]:
    """Return Ray's options for a worker. A detached one outlives the process that creates it."""
    options: dict[str, Any] = {
        "num_cpus": DEFAULT_CPUS if resources.num_cpus is None else resources.num_cpus,
        "num_gpus": resources.num_gpus or 0,
        "max_restarts": 0,
        "name": name,
    }
    if resources.memory:
        options["memory"] = resources.memory
    if detached:
        options["lifetime"] = "detached"
    return options
