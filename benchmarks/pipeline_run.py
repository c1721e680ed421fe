"""A pipeline of five trivial actions, beside the same five actions run one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.world import World

_ACTIONS = 5


def figures(world: World) -> Iterator[Figure]:
    yield _in_mode(world, "local", 9)
    world.cluster  # noqa: B018  # started, so that both find it warm
    yield _in_mode(world, "task", 31)


def _in_mode(world: World, mode: str, pairs: int) -> Figure:
    """Compare in one mode; on Ray the workers of both are warm after the pair that is thrown away."""
    with world.server(mode) as server:

        def pipeline() -> None:
            server.call("run_pipeline", actions=["hello/greet"] * _ACTIONS, mode=mode, wait_seconds=50)

        def one_by_one() -> None:
            for _ in range(_ACTIONS):
                server.call("run_action", plugin="hello", action="greet", mode=mode, wait_seconds=50)

        mine, theirs = interleaved(
            lambda: milliseconds(pipeline), lambda: milliseconds(one_by_one), world.pairs(pairs)
        )
    return at_most(f"run_pipeline, five actions, {mode} (five run_action)", mine, theirs, 1.2)
