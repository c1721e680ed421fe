"""Figures: medians of interleaved pairs, one printed line each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Timed = Callable[[], float]


@dataclass(frozen=True)
class Figure:
    """One line of the table. is_met is None where there is no target."""

    name: str
    ours: str
    baseline: str = "-"
    ratio: float | None = None
    target: str = "-"
    is_met: bool | None = None
    of: str = ""

    def line(self) -> str:
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = {True: "ok", False: "MISSED", None: "-"}[self.is_met]
        return (
            f"{self.name:<55} ours {self.ours:>12}   baseline {self.baseline:>12}   ratio {ratio:>5}   "
            f"target {self.target:<13} {verdict:<6} {self.of}"
        ).rstrip()


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def interleaved(ours: Timed, baseline: Timed, pairs: int) -> tuple[list[float], list[float]]:
    """Return what both measured, taken in turns, so that a slow moment of the machine hits both.

    One pair is measured before and thrown away.
    """
    taken = [(ours(), baseline()) for _ in range(pairs + 1)][1:]
    return [one for one, _ in taken], [other for _, other in taken]


def at_most(name: str, ours: list[float], baseline: list[float], most: float, plus_ms: float = 0.0) -> Figure:
    """Return the figure of milliseconds that may be `most` times as many as the baseline's, and some more."""
    mine, theirs = statistics.median(ours), statistics.median(baseline)
    return Figure(
        name,
        f"{mine:.2f} ms",
        f"{theirs:.2f} ms",
        mine / theirs,
        f"<= {most:g} x" + (f" + {plus_ms:g} ms" if plus_ms else ""),
        mine <= most * theirs + plus_ms,
        f"({len(ours)} pairs, fastest {min(ours):.2f} and {min(baseline):.2f} ms)",
    )
