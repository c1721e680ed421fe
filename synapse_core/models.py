"""The models of a home's backend: registering one from a run or a path, and listing them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from synapse_core.actions.model_files import as_file
from synapse_core.backend import Backend, Model
from synapse_core.enums import RunState
from synapse_core.errors import InvalidRequest, NotFound, RunNotFound, nearest
from synapse_core.run_folder import RunRequest
from synapse_core.runs import Run, Runs

# What a run's result calls the file that matters, where it has several artifacts.
_RESULT_KEYS = ("weights_path", "model_path", "weights", "model")


def register_model(
    runs: Runs,
    backend: Backend,
    name: str,
    source: str,
    *,
    version: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Model:
    """Register a model: one artifact of a run that succeeded, or a file or folder of this machine.

    source: a run_id, run_id/artifact where the run has several, or a path. A model of a run knows its run,
    plugin, dataset, checkpoint, hyperparameters and metrics. version: the next free number where it is left
    out. metadata: `description` and `metrics` of it are the model's, the rest its configuration.
    The same name, version and content again is the model that is there; another content is a Conflict.
    Raises InvalidRequest or NotFound where the source is no model.
    """
    if not name.strip():
        raise InvalidRequest("name is empty; a model is asked for by its name.")
    told = dict(metadata or {})
    known: dict[str, Any] = {"description": str(told.pop("description", ""))}
    metrics = told.pop("metrics", {})
    if not isinstance(metrics, Mapping):
        raise InvalidRequest("metadata.metrics should be names with numbers.")
    path = Path(source).expanduser()
    if not path.is_absolute() and (run := _run_of(runs, source.partition("/")[0])) is not None:
        request = runs.folder(run.run_id).request()
        artifact = _artifact(run, source.partition("/")[2])
        path = _place(runs, run, artifact)
        known |= _lineage(run, request)
        metrics = {**known["metrics"], **metrics}
        told = {**known["configuration"], **told}
    elif not path.is_absolute():
        raise InvalidRequest(
            f"{source!r} is neither the id of a run nor an absolute path.",
            {"nearest": nearest(source, [run.run_id for run in runs.list(limit=20)[0]])},
            hint="list_runs() shows the ids; a path begins with /.",
        )
    known |= {"metrics": dict(_numbers(metrics)), "configuration": told}
    with as_file(path, name) as file:
        return backend.create_model(name.strip(), file, version=version, **known)


def _run_of(runs: Runs, run_id: str) -> Run | None:
    """Return a run that succeeded, None where there is no run of this id."""
    try:
        run = runs.get(run_id)
    except RunNotFound:
        return None
    if run.state is not RunState.SUCCEEDED:
        raise InvalidRequest(
            f"Run {run_id} is {run.state.value}; models are registered from runs that succeeded.",
            hint="get_run(run_id, wait_seconds=20) waits for it."
            if not run.is_done
            else "get_run_logs shows why; run it again, or register a path.",
        )
    return run


def _artifact(run: Run, asked: str) -> str:
    """Return the name of the artifact that is the model."""
    names = [artifact.name for artifact in run.artifacts]
    if asked:
        if asked not in names:
            raise NotFound(
                f"Run {run.run_id} has no artifact {asked!r}; it has {', '.join(names[:10]) or 'none'}.",
                {"asked": asked, "nearest": nearest(asked, names)},
            )
        return asked
    if not names:
        raise InvalidRequest(
            f"Run {run.run_id} has no artifacts, so there is no model to register.",
            hint="The action should write its weights into self.ctx.artifacts_dir, or register them itself.",
        )
    if len(names) == 1:
        return names[0]
    result = run.result if isinstance(run.result, dict) else {}
    for key in _RESULT_KEYS:
        named = result.get(key)
        if isinstance(named, str):
            fitting = [name for name in names if named == name or named.endswith(f"/{name}")]
            if fitting:
                return fitting[0]
    raise InvalidRequest(
        f"Run {run.run_id} has several artifacts: {', '.join(names[:10])}.",
        {"artifacts": names},
        hint=f"Name the one that is the model: source='{run.run_id}/{names[0]}' for example.",
    )


def _place(runs: Runs, run: Run, name: str) -> Path:
    artifact = next(each for each in run.artifacts if each.name == name)
    parsed = urlparse(artifact.uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return runs.folder(run.run_id).path / artifact.uri


def _lineage(run: Run, request: RunRequest | None) -> dict[str, Any]:
    params = dict(request.params) if request is not None else {}
    dataset = params.pop("dataset", params.pop("dataset_id", None))
    checkpoint = params.pop("checkpoint", None)
    flat = {
        f"{category}/{name}": value
        for category, values in run.metrics.items()
        for name, value in values.items()
    }
    return {
        "run_id": run.run_id,
        "plugin": run.plugin,
        "plugin_version": request.plugin_version if request is not None else "",
        "dataset": dataset if isinstance(dataset, int) else None,
        "checkpoint": checkpoint if isinstance(checkpoint, int) else None,
        "metrics": dict(_numbers(flat)),
        "configuration": {"hyperparameter": params},
    }


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield str(name), float(value)
