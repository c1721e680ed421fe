"""A trivial action as a Ray job, beside Ray's own Jobs API with the same entry point."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import msgspec
from ray.job_submission import JobStatus, JobSubmissionClient

from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.world import World
from synapse_core.executors.ray import RayJobRuns
from synapse_core.executors.ray.job_env import entrypoint
from synapse_core.registry import Registry
from synapse_core.run_folder import RunFolder
from synapse_core.runs import Runs
from synapse_core.runs.request import make_request
from synapse_mcp.settings import example_plugins

_LOOK_SECONDS = 0.01
# Until an ended job has given its CPU back.
_CLEARING_SECONDS = 0.5


def figures(world: World) -> Iterator[Figure]:
    status = world.cluster.connect()
    registry = Registry([example_plugins()], world.home / "cache" / "descriptions")
    runs = Runs(world.home, {"job": RayJobRuns(world.cluster)})
    client = JobSubmissionClient(status.dashboard_url)
    request = make_request(registry, "hello", "greet", {"name": "world"}, mode="job", modes=runs.modes)
    numbers = itertools.count(1)

    def recorded() -> None:
        run, _ = runs.submit(request)
        runs.start(run.run_id)
        runs.wait(run.run_id)

    def raw() -> None:
        same = msgspec.structs.replace(request, run_id=f"raw-{next(numbers)}")
        folder = RunFolder(world.home / "raw" / same.run_id)
        folder.create(same)
        job = client.submit_job(entrypoint=entrypoint(folder, same, {}), entrypoint_num_cpus=1)
        while client.get_job_status(job) is not JobStatus.SUCCEEDED:
            time.sleep(_LOOK_SECONDS)

    try:
        mine, theirs = interleaved(
            lambda: _then_clear(milliseconds(recorded)),
            lambda: _then_clear(milliseconds(raw)),
            world.pairs(15),
        )
    finally:
        registry.close()
        runs.close()
    yield at_most("Runs.submit + start + wait, job (raw Jobs API)", mine, theirs, 1.15)


def _then_clear(took: float) -> float:
    time.sleep(_CLEARING_SECONDS)
    return took
