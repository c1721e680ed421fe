"""The child that draws metric curves: panels as JSON on standard input, a PNG on standard output.

A process of its own, so that no server ever loads matplotlib: `python -m synapse_mcp.plot_child`.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Of Okabe and Ito: told apart by colour-blind eyes too. Without the yellow, which is faint on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
_LINES = ("-", "--", "-.", ":")
_DOTS_PER_INCH = 110
_PANEL_WIDTH, _PANEL_HEIGHT = 5.6, 3.3  # inches
# Values that span more than this are read on a logarithmic axis only.
_LOG_SPAN = 1_000
_MARKED_POINTS = 30
_INK, _FAINT = "#222222", "#D9D9D9"


def draw(plot: dict[str, Any]) -> Figure:
    """Return the picture of a plot: `title`, and `panels` with `x`, `y` and `curves` (`name`, `points`)."""
    panels = plot["panels"]
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    width = 8.0 if columns == 1 else columns * _PANEL_WIDTH
    height = (4.2 if columns == 1 else rows * _PANEL_HEIGHT) + 0.35
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained", facecolor="white")
    figure.suptitle(plot["title"], fontsize=11, color=_INK, parse_math=False)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, place in zip(panels, axes, strict=False):
        _draw_curves(place, panel) if panel["x"] else _write_values(place, panel)
    for place in axes[len(panels) :]:
        place.set_visible(False)
    return figure


def _draw_curves(place: Axes, panel: dict[str, Any]) -> None:
    values: list[float] = []
    for number, curve in enumerate(panel["curves"]):
        colour = _COLOURS[number % len(_COLOURS)]
        xs, ys = zip(*curve["points"], strict=True)
        values += ys
        last = f"{curve['name']}  {_short(ys[-1])}"
        if len(xs) == 1:
            place.axhline(ys[0], color=colour, linewidth=1.2, linestyle=(0, (1, 1.5)), label=f"{last} (once)")
            continue
        is_short = len(xs) <= _MARKED_POINTS
        place.plot(
            xs,
            ys,
            color=colour,
            linestyle=_LINES[number // len(_COLOURS) % len(_LINES)] if number else "-",
            linewidth=1.7,
            marker="o" if is_short else None,
            markersize=3.5,
            label=last,
        )
    y = panel["y"]
    if min(values) > 0 and max(values) > _LOG_SPAN * min(values):
        place.set_yscale("log")
        y = f"{y}, log scale"
    elif min(values) == max(values):
        room = abs(values[0]) * 0.1 or 1.0
        place.set_ylim(values[0] - room, values[0] + room)
    if "(s)" not in panel["x"]:
        place.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
    place.set_xlabel(panel["x"], fontsize=9, color=_INK, parse_math=False)
    place.set_ylabel(y, fontsize=9, color=_INK, parse_math=False)
    place.tick_params(colors=_INK, labelsize=8)
    place.spines[["top", "right"]].set_visible(False)
    place.grid(True, color=_FAINT, linewidth=0.6)
    place.set_axisbelow(True)
    legend = place.legend(fontsize=8, loc="best", framealpha=0.85, edgecolor=_FAINT)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _write_values(place: Axes, panel: dict[str, Any]) -> None:
    """Write metrics that were told only once: there is no curve through one point."""
    place.set_axis_off()
    place.set_title("told once", fontsize=9, color=_INK, loc="left")
    for number, curve in enumerate(panel["curves"]):
        height = 0.92 - 0.12 * number
        place.text(0.02, height, curve["name"], fontsize=10, color=_INK, va="top", parse_math=False)
        value = _short(curve["points"][0][1])
        place.text(0.6, height, value, fontsize=10, color=_INK, va="top", weight="bold")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"


def main() -> None:
    """Draw what standard input tells."""
    matplotlib.use("agg")
    draw(json.load(sys.stdin)).savefig(sys.stdout.buffer, format="png")


if __name__ == "__main__":
    main()
