"""The models of a home's backend: registering one, finding them, and the request that deploys one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from synapse_core.actions.model_files import as_file
from synapse_core.backend import Backend, Model
from synapse_core.enums import RunState
from synapse_core.errors import InvalidRequest, NotFound, RunNotFound, did_you_mean, nearest
from synapse_core.registry import Registry
from synapse_core.run_folder import RunRequest
from synapse_core.runs import Run, Runs
from synapse_core.runs.request import make_request

# What plugins call the action that deploys their models.
DEPLOY_ACTIONS = ("deploy", "deployment")
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


def find_model(backend: Backend, asked: str | int) -> Model:
    """Return a model by its id, by name@version, or by its name: the newest version then.

    Raises NotFound naming the nearest ones.
    """
    text = str(asked).strip()
    if text.isdigit():
        return backend.get_model(int(text))
    name, _, version = text.rpartition("@") if "@" in text else (text, "", "")
    found = list(backend.list_models({"name": name, **({"version": version} if version else {})}))
    if found:
        return found[-1]
    known = list(dict.fromkeys(f"{model.name}@{model.version}" for model in backend.list_models()))
    raise NotFound(
        f"There is no model {text!r}.{did_you_mean(text, known)}",
        {"asked": text, "nearest": nearest(text, known) or known[-3:]},
        hint="list_models() shows the registered ones; register_model adds one.",
    )


def list_models(
    backend: Backend,
    *,
    name: str | None = None,
    query: str | None = None,
    limit: int = 20,
    before: int | None = None,
) -> tuple[list[Model], int | None]:
    """Return (models, cursor): the newest first, and what to give as `before` for the next, None at the end.

    query: a part of the name, the plugin or the description.
    """
    wanted = (query or "").lower()
    found = [
        model
        for model in backend.list_models(None if name is None else {"name": name})
        if (before is None or model.id < before)
        and wanted in f"{model.name} {model.plugin} {model.description}".lower()
    ]
    found.reverse()
    page = found[:limit]
    return page, page[-1].id if len(found) > limit else None


def deploy_request(
    registry: Registry, model: Model, name: str, *, replicas: int, num_gpus: float, modes: list[str]
) -> RunRequest:
    """Return the request for a run of the deployment action of the plugin that a model belongs to.

    Raises InvalidRequest where the model has no plugin, or that no such action, and what `make_request` does.
    """
    if not model.plugin:
        raise InvalidRequest(
            f"Model {model.name}@{model.version} was registered without a plugin, so nobody knows how to "
            "serve it.",
            hint=f"Run the deploy action of the plugin that does, with params {{'model': {model.id}}}.",
        )
    actions = registry.usable(model.plugin)[1].actions
    action = next((each for each in DEPLOY_ACTIONS if each in actions), None)
    if action is None:
        raise InvalidRequest(
            f"Plugin {model.plugin!r} has no action 'deploy'; it has {', '.join(actions)}.",
            hint="Add one: a class based on BaseDeploymentAction, which create_plugin can write.",
        )
    params = {"model": model.id, "name": name, "replicas": replicas, "num_gpus": num_gpus}
    return make_request(registry, model.plugin, action, params, modes=modes)


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
