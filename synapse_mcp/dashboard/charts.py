"""Which curves belong on one chart: the same metric of training and validation, of several actions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from synapse_core.loggers import DEFAULT_CATEGORY
from synapse_mcp.dashboard.history import Curve

_PART = re.compile(r"(train|training|val|valid|validation|test|eval)[_/. -](.+)", re.IGNORECASE)
_MOST_CHARTS = 40
_MOST_SERIES = 8


class Series(msgspec.Struct):
    """One curve of a chart. points: (place, value)."""

    name: str
    points: list[tuple[float, float]]


class Chart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Curves of one metric. place: what counts along the bottom, 'epoch' for example."""

    title: str
    place: str
    series: list[Series]
    series_left_out: int = 0


def charts_of(curves: Mapping[tuple[str | None, str, str], Curve]) -> list[Chart]:
    """Return the charts of a run's curves, in the order in which their metrics first came."""
    found: dict[tuple[str, str], Chart] = {}
    for (action, category, metric), curve in curves.items():
        part = _PART.fullmatch(metric)
        title = part[2] if part else metric
        words = (action, "" if category == DEFAULT_CATEGORY else category, part[1] if part else "")
        name = " / ".join(dict.fromkeys(word for word in words if word)) or metric
        place = _place_of(title, curve, found)
        chart = found.setdefault((title, place), Chart(title=title, place=place, series=[]))
        if len(chart.series) < _MOST_SERIES:
            chart.series.append(Series(name, curve.points))
        else:
            chart.series_left_out += 1
    return list(found.values())[:_MOST_CHARTS]


def _place_of(title: str, curve: Curve, found: Mapping[tuple[str, str], Chart]) -> str:
    """Return what counts along the bottom of the chart that a curve belongs on.

    A single value has no place of its own: it stands as a level on the chart of the same metric.
    """
    if len(curve.points) > 1:
        return curve.place
    return next((place for known, place in found if known == title), curve.place)
