"""The picture of a run's metrics: its curves, drawn in a child process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from synapse_core.environment import passed_environment
from synapse_core.errors import InvalidRequest, NotFound
from synapse_core.home import Home
from synapse_core.plain_text import spelt_out
from synapse_core.runs import Run
from synapse_mcp.curves import Curve, chosen, curves_of, panels_of, thinned
from synapse_mcp.masking import masked

# The first drawing on a machine reads all of its fonts.
_DRAWING_SECONDS = 60.0
_MOST_TOLD = 8


def plot_metrics(home: Home, run_id: str, metrics: Sequence[str] | None = None) -> tuple[bytes, str]:
    """Return a PNG of a run's metric curves and one line about them.

    metrics: only these; see `chosen`. Raises RunNotFound; NotFound for a run that has recorded no metrics;
    InvalidRequest for a metric that it has not, and where matplotlib is not installed.
    """
    run = home.runs.get(run_id)
    curves = curves_of(home.runs.events(run_id))
    if not curves:
        raise _nothing_to_draw(run)
    wanted = chosen(curves, metrics)
    panels, left_out = panels_of(wanted)
    named = f"{run.plugin}/{run.action}"
    title = f"{named}    {run.run_id}    {run.state.value}"
    drawn = [
        {
            "x": panel.x,
            "y": masked(panel.y),
            "curves": [{"name": masked(curve.name), "points": thinned(curve)} for curve in panel.curves],
        }
        for panel in panels
    ]
    png = _drawn({"title": spelt_out(title), "panels": drawn}, home.path / "cache" / "matplotlib")
    return png, _line(run, [curve for panel in panels for curve in panel.curves], left_out)


def _drawn(plot: dict[str, object], cache: Path) -> bytes:
    """Return the PNG that a child makes of a plot. cache: where matplotlib keeps its list of fonts."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidRequest(
            "Curves are drawn by the package matplotlib, which is not installed where this server runs.",
            hint="pip install 'synapse-mcp[plot]', then call again. get_run tells the latest values.",
        )
    cache.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "synapse_mcp.plot_child"],
        input=json.dumps(plot).encode(),
        capture_output=True,
        env={**passed_environment(), "MPLCONFIGDIR": os.fspath(cache)},
        timeout=_DRAWING_SECONDS,
        start_new_session=True,
        check=True,
    )
    return done.stdout


def _nothing_to_draw(run: Run) -> NotFound:
    named = f'run_id="{run.run_id}"'
    hint = (
        'An action records metrics with self.set_metrics({"loss": 0.1}, category="train"), once a round; '
        f"get_run({named}) tells what this run returned."
        if run.is_done
        else f"It still goes: get_run({named}, wait_seconds=20) waits on; then call again."
    )
    return NotFound(
        f"Run {run.run_id} ({run.plugin}/{run.action}, {run.state.value}) has recorded no metrics.", hint=hint
    )


def _line(run: Run, curves: Sequence[Curve], left_out: Sequence[Curve]) -> str:
    """Return one line that tells what the picture shows."""
    told = []
    for curve in curves[:_MOST_TOLD]:
        values = curve.values
        change = f"{values[0]:.4g} → {values[-1]:.4g}" if len(values) > 1 else f"{values[0]:.4g}"
        told.append(f"{curve.name} {change}")
    more = len(curves) - len(told)
    rest = f"; {more} more" if more else ""
    without = f" Not drawn: {', '.join(curve.name for curve in left_out[:5])}." if left_out else ""
    going = "" if run.is_done else " It still goes."
    return (
        f"Metrics of run {run.run_id} ({run.plugin}/{run.action}, {run.state.value}), first → last: "
        f"{'; '.join(told)}{rest}.{without}{going}"
    )
