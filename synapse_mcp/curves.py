"""The metric curves of a run: what its events tell of each metric, and which of them make one panel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from synapse_core.errors import InvalidRequest, did_you_mean
from synapse_core.events import AnyEvent, Metrics, RunStarted
from synapse_core.plain_text import spelt_out

# What counts the rounds of a training, where metrics name it beside their values; the first that is there.
_ROUNDS = ("epoch", "step", "global_step", "iteration", "batch", "round")
_SECONDS = "time since the run began (s)"
_MOST_POINTS = 1_000
_MOST_CURVES = 100
_MOST_PANELS = 6
_MOST_CURVES_OF_A_PANEL = 8
_NAME_CHARS = 60
# Curves of one panel differ in size by no more than this: the smaller ones would lie on the axis.
_WIDEST = 20.0
# The end of a metric's name that tells its unit -> the unit.
_UNITS = (
    ("_per_second", "per second"),
    ("_seconds", "s"),
    ("_ms", "ms"),
    ("_bytes", "bytes"),
    ("_percent", "%"),
    ("percent", "%"),
    ("_mb", "MB"),
    ("_gb", "GB"),
)


@dataclass(eq=False)
class Curve:
    """One metric over the run. x: what it is drawn over, with its unit; points: (x, value), in order."""

    name: str
    key: str
    x: str
    points: dict[float, float] = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        return [self.points[x] for x in sorted(self.points)]

    @property
    def largest(self) -> float:
        return max(map(abs, self.points.values()))

    @property
    def family(self) -> str:
        """What the metric is a kind of, with the unit: metrics of one family can share an axis."""
        key = self.key.lower()
        for ending, unit in _UNITS:
            if key.endswith(ending):
                return f"{key.removesuffix(ending).replace('_', ' ').strip() or 'share'} ({unit})"
        values = self.points.values()
        if "loss" in key:
            return "loss (no unit)"
        if any(value > 1 for value in values) and all(value == int(value) for value in values):
            return f"{self.key} (count)"
        is_score = all(0 <= value <= 1 for value in values) and self.largest > 0.02
        return "score (0 to 1)" if is_score else f"{self.key} (no unit)"


@dataclass(frozen=True)
class Panel:
    """Curves that are drawn together. x and y: what stands at the axes; of values that were told only once
    and have no curve of their kind beside them, both are empty."""

    x: str
    y: str
    curves: list[Curve]


def curves_of(events: Iterable[AnyEvent]) -> list[Curve]:
    """Return a curve for each metric that has had a number, in the order of their first values."""
    curves: dict[str, Curve] = {}
    began: float | None = None
    for event in events:
        if event.at is not None and (began is None or isinstance(event, RunStarted)):
            began = event.at.timestamp()
        if not isinstance(event, Metrics) or event.at is None or began is None:
            continue
        category = event.category if event.action is None else f"{event.action}/{event.category}"
        numbers = {key: value for key, value in event.values.items() if is_number(value)}
        round_ = round_of(event.values)
        x, at = (round_, float(numbers[round_])) if round_ else (_SECONDS, event.at.timestamp() - began)
        for key, value in numbers.items():
            if key not in _ROUNDS:
                _add(curves, category, key, x, at, float(value))
    return list(curves.values())


def chosen(curves: Sequence[Curve], names: Sequence[str] | None) -> list[Curve]:
    """Return the curves of these names: 'category/metric', a metric of all categories, or a whole category.

    Raises InvalidRequest that names the metrics there are.
    """
    if not names:
        return list(curves)
    found: list[Curve] = []
    for name in names:
        mine = [curve for curve in curves if name in (curve.name, curve.key, curve.name.rpartition("/")[0])]
        if not mine:
            known = [curve.name for curve in curves]
            raise InvalidRequest(
                f"The run has no metric {name!r}.{did_you_mean(name, known)}",
                {"metrics": known[:50]},
                hint=f"It has {', '.join(known[:20])}. Leave metrics out to see them all.",
            )
        found += [curve for curve in mine if curve not in found]
    return found


def panels_of(curves: Sequence[Curve]) -> tuple[list[Panel], list[Curve]]:
    """Return the panels to draw, at most six, and the curves for which there is no room.

    Curves share a panel where they are of one family, over the same x, and of about one size. A metric that
    was told only once is drawn beside the curves of its family, else in a panel with its like.
    """
    panels: list[Panel] = []
    left_out: list[Curve] = []
    # Curves first: a single value goes where there is a curve of its kind.
    for curve in sorted(curves, key=lambda each: len(each.points) == 1):
        panel = next((each for each in panels if _fits(curve, each)), None)
        if panel is not None:
            panel.curves.append(curve)
        elif len(panels) < _MOST_PANELS:
            is_curve = len(curve.points) > 1
            panels.append(Panel(curve.x, curve.family, [curve]) if is_curve else Panel("", "", [curve]))
        else:
            left_out.append(curve)
    return panels, left_out


def thinned(curve: Curve) -> list[tuple[float, float]]:
    """Return the points of a curve, at most about a thousand: of each stretch its lowest and its highest."""
    points = sorted(curve.points.items())
    if len(points) <= _MOST_POINTS:
        return points
    width = math.ceil(2 * len(points) / _MOST_POINTS)
    kept: list[tuple[float, float]] = [points[0]]
    for start in range(1, len(points) - 1, width):
        stretch = points[start : min(start + width, len(points) - 1)]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def _add(curves: dict[str, Curve], category: str, key: str, x: str, at: float, value: float) -> None:
    # A framework's own names may bear the category already.
    full = key if not category or key.startswith(f"{category}/") else f"{category}/{key}"
    name = spelt_out(full)[:_NAME_CHARS]
    if name not in curves and len(curves) < _MOST_CURVES:
        curves[name] = Curve(name, spelt_out(key).rpartition("/")[2][:_NAME_CHARS] or name, x)
    curve = curves.get(name)
    if curve is not None and curve.x == x:
        curve.points[at] = value


def _fits(curve: Curve, panel: Panel) -> bool:
    if len(panel.curves) >= _MOST_CURVES_OF_A_PANEL:
        return False
    if len(curve.points) == 1 and not panel.x:
        return True
    if curve.family != panel.y or (curve.x != panel.x and len(curve.points) > 1):
        return False
    sizes = [each.largest for each in (*panel.curves, curve) if each.largest > 0]
    return not sizes or max(sizes) <= _WIDEST * min(sizes)


def round_of(values: Mapping[str, object]) -> str | None:
    """Return the metric that counts the rounds for the others, None where there is none."""
    return next((name for name in _ROUNDS if is_number(values.get(name))), None)


def is_number(value: object) -> bool:
    """Tell whether a metric's value can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
