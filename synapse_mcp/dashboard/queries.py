"""What the pages ask for, and how it is found: everything is read, nothing is written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from synapse_core import __version__
from synapse_core.backend import Backend
from synapse_core.backend_choice import backend_address
from synapse_core.enums import LogLevel
from synapse_core.errors import InvalidRequest
from synapse_core.home import Home
from synapse_core.models import list_models
from synapse_core.runs.log import LogPage
from synapse_core.runs.request import OWN_PLUGIN
from synapse_mcp.allowed_paths import allowed
from synapse_mcp.dashboard.charts import Chart, charts_of
from synapse_mcp.dashboard.history import History, StepRecord
from synapse_mcp.dashboard.records import (
    ActionPart,
    DeploymentEntry,
    ModelEntry,
    RunEntry,
    action_parts,
    deployment_entry,
    full_record,
    model_entry,
    params_of,
    run_entry,
)
from synapse_mcp.records import RunRecord
from synapse_mcp.settings import Settings

_KEPT_HISTORIES = 24
_BACKEND_SECONDS = 10.0
_PROBE_SECONDS = 30.0
_LOG_CHARS = 400_000
_PREVIEW_PIXELS = 1_300_000


class RunList(msgspec.Struct, kw_only=True, omit_defaults=True):
    runs: list[RunEntry]
    active: int | None
    next_cursor: str | None = None


class RunDetails(msgspec.Struct, kw_only=True):
    """All that a run's page shows but the log. log_bytes: how long that is."""

    run: RunRecord
    steps: list[StepRecord]
    actions: list[ActionPart]
    params: Any
    log_bytes: int


class Queries:
    """Reads a home for the pages. Its calls block; the service makes them in threads."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._histories: OrderedDict[str, History] = OrderedDict()
        self._reading = threading.Lock()

    def overview(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "home": str(self._home.path),
            "profile": self._settings.profile.name or "default",
            "backend": backend_address(self._home.profile) or "embedded",
            "allowed_paths": [str(path) for path in self._settings.allowed_paths],
        }

    def run_list(self, state: str | None, plugin: str | None, limit: int, cursor: str | None) -> RunList:
        runs, more = self._home.runs.list(state=state, plugin=plugin, limit=limit, cursor=cursor)
        return RunList(
            runs=[run_entry(run) for run in runs], active=self._home.runs.count_active(), next_cursor=more
        )

    def files_of_list(self, shown: RunList | None) -> Sequence[Path]:
        """Return the files that change when the list does: the folder of all runs, and what is going on."""
        runs = self._home.runs
        files = [self._home.path / "runs"]
        for entry in [] if shown is None else shown.runs:
            if not entry.done:
                folder = runs.folder(entry.run_id)
                files += [folder.events, folder.path]
        return files

    def run_details(self, run_id: str) -> tuple[RunDetails, list[Chart]]:
        """Return a run, and the charts of its metrics."""
        run = self._home.runs.get(run_id)
        folder = self._home.runs.folder(run.run_id)
        with self._reading:
            history = self._history(run.run_id)
            while history.read_on():
                pass  # a chunk at a time, so that a long record is never in memory as a whole
            steps, charts = list(map(msgspec.structs.replace, history.steps)), charts_of(history.curves)
        record = full_record(run, self._home.runs)
        details = RunDetails(
            run=record,
            steps=steps,
            actions=action_parts(run),
            params=params_of(folder.request()),
            log_bytes=record.log_cursor or 0,
        )
        return details, charts

    def files_of_run(self, run_id: str) -> Sequence[Path]:
        folder = self._home.runs.folder(run_id)
        return folder.events, folder.output, folder.path

    def log(self, run_id: str, tail: int, grep: str | None, level: str | None, cursor: int | None) -> LogPage:
        return self._home.runs.log(
            run_id,
            tail=tail,
            grep=grep,
            level=None if level is None else LogLevel.parse(level),
            cursor=cursor,
            most_chars=_LOG_CHARS,
        )

    def models(self, query: str | None, before: int | None) -> dict[str, Any]:
        backend = self._backend()
        try:
            found, more = list_models(backend, query=query, limit=50, before=before)
        finally:
            backend.close()
        entries: list[ModelEntry] = [model_entry(each) for each in found]
        return {"models": entries, "next_cursor": more}

    def deployments(self) -> list[DeploymentEntry]:
        return [deployment_entry(each) for each in self._home.deployments.list()]

    def probe(self, name: str) -> dict[str, float]:
        """Have a deployment answer for its own samples. Raises what a call of it raises."""
        answer = self._home.deployments.call(name, None, _PROBE_SECONDS)
        return {"seconds": round(answer.seconds, 4), "results": len(answer.results)}

    def datasets(self) -> list[dict[str, Any]]:
        """Return the datasets that conversions of this home have written, the newest first."""
        runs, _ = self._home.runs.list(plugin=OWN_PLUGIN, state="succeeded", limit=100)
        found: dict[str, dict[str, Any]] = {}
        for run in runs:
            result = run.result
            if run.action != "convert_dataset" or not isinstance(result, dict) or not result.get("output"):
                continue
            path = str(result["output"])
            entry = {
                "path": path,
                "format": result.get("target_format"),
                "images": result.get("items"),
                "run_id": run.run_id,
            }
            if Path(path).exists():
                found.setdefault(path, entry)
        return list(found.values())

    def inspection(self, path: str) -> Any:
        from synapse_core.datasets import inspect  # with its formats, when one is first looked at

        return inspect(self._place(path))

    def preview(self, path: str, count: int, split: str | None) -> bytes:
        """Return a PNG of some images of a dataset, with their annotations."""
        from synapse_core.datasets import preview  # and with it Pillow

        png: bytes = preview(self._place(path), count, split=split, max_pixels=_PREVIEW_PIXELS)
        return png

    def _place(self, path: str) -> str:
        """Return a path where it may be looked at. Nobody has this server fetch what lies elsewhere."""
        if "://" in path:
            raise InvalidRequest(
                "The dashboard shows datasets of this machine only.", hint="Give the path of a folder."
            )
        return allowed(self._settings, path)

    def _backend(self) -> Backend:
        return self._home.open_backend(deadline_seconds=_BACKEND_SECONDS)

    def _history(self, run_id: str) -> History:
        """Return what was read of a run's events so far; of the runs not looked at for long, nothing."""
        if run_id not in self._histories:
            self._histories[run_id] = History(self._home.runs.folder(run_id).events)
        self._histories.move_to_end(run_id)
        while len(self._histories) > _KEPT_HISTORIES:
            self._histories.popitem(last=False)
        return self._histories[run_id]
