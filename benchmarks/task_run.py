"""A trivial action on a Ray cluster that is up, beside the same call without Synapse."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import ray

from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.stdio import HELLO_ON_RAY, StdioServer
from benchmarks.world import World
from synapse_core.executors.ray import RayActorExecutor
from synapse_core.registry import Registry
from synapse_core.runs import Runs
from synapse_core.runs.request import make_request
from synapse_mcp.settings import example_plugins

_PARAMS = {"name": "world"}
# Until a killed worker's process is gone and its CPU is free again.
_CLEARING_SECONDS = 0.3


class Greeter:
    """The same work as `hello/greet`, with the arguments that TaskWorker.execute takes."""

    def greet(
        self,
        target: Any,
        params: dict[str, Any],
        env: dict[str, Any],
        job_id: str | None,
        language: str | None,
    ) -> dict[str, Any]:
        return {"text": f"Hello, {params['name']}!", "steps": 1}


def figures(world: World) -> Iterator[Figure]:
    world.cluster  # noqa: B018  # started, and this process connected
    yield _new_worker(world)
    yield _kept_actor(world)
    yield _through_the_server(world)
    yield _recorded(world)


def _new_worker(world: World) -> Figure:
    """A run whose resources no idle worker has, beside the creation of an actor and one call."""
    numbers = itertools.count(1)

    def raw() -> float:
        actors: list[Any] = []
        took = milliseconds(lambda: actors.append(_greeter(0.1)) or _greet(actors[0]))
        ray.kill(actors[0])
        time.sleep(_CLEARING_SECONDS)
        return took

    with world.server("task") as server:

        def ours() -> float:
            resources = {"num_cpus": 0.1 + next(numbers) / 1000}
            took = milliseconds(
                lambda: server.call(
                    "run_action", plugin="hello", action="greet", mode="task", resources=resources
                )
            )
            time.sleep(_CLEARING_SECONDS)
            return took

        mine, theirs = interleaved(ours, raw, world.pairs(11))
    return at_most("run_action, task, new worker (raw actor + call)", mine, theirs, 1.3)


def _kept_actor(world: World) -> Figure:
    """`execute` on the actor that it keeps, beside a call with the same arguments."""
    executor = RayActorExecutor(
        working_dir=example_plugins() / "hello", num_cpus=0.1, cluster=world.cluster, ray_address=None
    )
    greeter = _greeter(0)
    try:
        mine, theirs = interleaved(
            lambda: milliseconds(lambda: executor.execute("greet", _PARAMS)),
            lambda: milliseconds(lambda: _greet(greeter)),
            world.pairs(201),
        )
    finally:
        executor.shutdown()
        ray.kill(greeter)
    return at_most("RayActorExecutor.execute, warm (raw warm call)", mine, theirs, 2)


def _through_the_server(world: World) -> Figure:
    """A durable run on a worker that is up, beside a tool that calls an actor and keeps no record."""
    with world.server("task") as server, StdioServer(HELLO_ON_RAY, world.environment) as hello:
        mine, theirs = interleaved(
            lambda: milliseconds(
                lambda: server.call("run_action", plugin="hello", action="greet", mode="task")
            ),
            lambda: milliseconds(lambda: hello.call("greet", name="world")),
            world.pairs(101),
        )
    return at_most("run_action, task, warm (tool with raw warm call)", mine, theirs, 2)


def _recorded(world: World) -> Figure:
    """A durable run without the protocol, beside a raw call: what the record costs."""
    registry = Registry([example_plugins()], world.home / "cache" / "descriptions")
    runs = Runs(world.home, {"task": RayActorExecutor(cluster=world.cluster)})
    request = make_request(registry, "hello", "greet", _PARAMS, mode="task", modes=runs.modes)
    greeter = _greeter(0)

    def recorded() -> None:
        run, _ = runs.submit(request)
        runs.start(run.run_id)
        runs.wait(run.run_id)

    try:
        mine, theirs = interleaved(
            lambda: milliseconds(recorded), lambda: milliseconds(lambda: _greet(greeter)), world.pairs(151)
        )
    finally:
        registry.close()
        runs.close()
        ray.kill(greeter)
    return at_most("Runs.submit + start + wait, task, warm (raw call)", mine, theirs, 2, plus_ms=5)


def _greeter(num_cpus: float) -> Any:
    return ray.remote(Greeter).options(num_cpus=num_cpus).remote()


def _greet(greeter: Any) -> Any:
    return ray.get(
        greeter.greet.remote(("folder", "plugin.greet:GreetAction", "hello"), _PARAMS, {}, None, None)
    )
