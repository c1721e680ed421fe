"""ActionPipeline: actions that hand their results on, in this process or as one recorded run."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic

from synapse_core import params as parameters
from synapse_core.context import RuntimeContext
from synapse_core.discovery import ActionClass
from synapse_core.environment import PluginEnvironment
from synapse_core.errors import ActionFailed, InvalidRequest, SchemaIncompatibleError, SynapseError
from synapse_core.executors.local import LocalExecutor
from synapse_core.pipelines.checks import (
    Stage,
    check_values,
    given_to,
    missing_fields,
    type_problems,
)
from synapse_core.pipelines.classes import as_class, spec_of_class, title_of
from synapse_core.pipelines.graph import Node, PipelineAction, ancestors_of, arranged
from synapse_core.runner import discover

if TYPE_CHECKING:
    from synapse_core.pipelines.executor import RayPipelineExecutor

log = logging.getLogger(__name__)

ProgressCallback = Callable[[int, int, str], None]


class ActionPipeline:
    """Actions of which each gets, as parameters, what those before it returned.

    actions: BaseAction classes, @action functions, names as "plugin/action", or PipelineAction with more to
        say. In the order given each comes after the one before it.
    after: makes a graph of it: by name, the entries that have to succeed before.
    validate_schemas: look at once whether each action gives what the next one takes. strict: raise where the
        data types do not fit; otherwise a warning is logged, and recorded runs are made even so.
    Raises ValueError without actions, SchemaIncompatibleError if strict, InvalidRequest for a wrong graph.
    """

    def __init__(
        self,
        actions: Sequence[Any],
        *,
        validate_schemas: bool = True,
        strict: bool = False,
        after: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not actions:
            raise ValueError("A pipeline needs at least one action.")
        self._actions = [each.action if isinstance(each, PipelineAction) else each for each in actions]
        entries = [each if isinstance(each, PipelineAction) else PipelineAction(each) for each in actions]
        self.is_strict = strict
        self._nodes = arranged(_with_after(entries, after or {}), [title_of(each) for each in self._actions])
        if validate_schemas:
            self._validate(strict)

    @property
    def actions(self) -> list[Any]:
        """The actions as they were given."""
        return list(self._actions)

    @property
    def entries(self) -> list[PipelineAction]:
        """The entries with all that is settled about them, each after those that it depends on."""
        return [msgspec.structs.replace(node.asked, name=node.name, after=node.after) for node in self._nodes]

    def __len__(self) -> int:
        return len(self._actions)

    def __repr__(self) -> str:
        return f"ActionPipeline({' | '.join(map(_shown, self._actions))})"

    def validate_initial_params(self, params: Mapping[str, Any]) -> list[str]:
        """Return 'Class.field' for each required parameter that neither `params` nor an action gives."""
        stages = self._stages(self._classes())
        shown = {node.name: _shown(node.asked.action) for node in self._nodes}
        told = (path.partition(".") for path in missing_fields(stages, params))
        return [f"{shown[name]}.{field}" for name, _, field in told]

    def execute(
        self,
        params: Mapping[str, Any] | None = None,
        ctx: RuntimeContext | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
    ) -> Any:
        """Run all actions here and now, one after the other, and return what the last one returns.

        ctx: what all actions are given; each gets a new one where it is left out. progress_callback: called
        with (done, total, name) before each action and with (total, total, 'complete') at the end. Files
        that actions leave in the folder that they share stay there.
        Raises ValidationError before anything runs, ActionFailed (a RuntimeError) where an action fails.
        """
        classes = self._classes()
        stages = self._stages(classes)
        given = dict(params or {})
        check_values(stages, given)
        tell = progress_callback or _tell_nobody
        ancestors = ancestors_of({stage.name: stage.after for stage in stages})
        results: dict[str, Any] = {}
        with _shared_folder() as shared:
            for number, stage in enumerate(stages):
                tell(number, len(stages), stage.name)
                known = dict(given)
                for name in (name for name in results if name in ancestors[stage.name]):
                    known.update(_as_params(results[name]))
                values = {**given_to(stage.takes, known), **stage.params}
                results[stage.name] = _run_here(stage.name, classes[stage.name], values, ctx, shared)
        tell(len(stages), len(stages), "complete")
        return results[stages[-1].name]

    def submit(
        self,
        params: Mapping[str, Any] | None,
        executor: RayPipelineExecutor,
        *,
        name: str | None = None,
        resume_from: str | None = None,
    ) -> str:
        """Make a recorded run of the pipeline and return its id at once; see RayPipelineExecutor.submit."""
        return executor.submit(self, params, name=name, resume_from=resume_from)

    def wait(
        self,
        run_id: str,
        executor: RayPipelineExecutor,
        *,
        timeout_seconds: float = 3600.0,
        poll_interval: float = 5.0,
    ) -> Any:
        """Return the result of a recorded run when it has ended; see RayPipelineExecutor.wait."""
        return executor.wait(run_id, timeout_seconds, poll_interval)

    def _validate(self, strict: bool) -> None:
        """See whether each action gives what the next one takes, as far as the actions are classes here."""
        found = {node.name: as_class(node.asked.action) for node in self._nodes}
        classes = {name: action for name, action in found.items() if action is not None}
        stages = self._stages(classes)
        if told := list(type_problems(stages)):
            if strict:
                raise SchemaIncompatibleError("\n".join(told), {"mismatches": told})
            for sentence in told:
                log.warning("%s", sentence)
        for stage in stages:
            if stage.gives is None and any(stage.name in other.after for other in stages):
                log.info(
                    "%s has no result model; what it gives cannot be checked before it runs.", stage.name
                )

    def _classes(self) -> dict[str, ActionClass]:
        """Return the class of every entry. Raises NotFound or PluginLoadError for names without one."""
        return {node.name: as_class(node.asked.action) or _class_named(node) for node in self._nodes}

    def _stages(self, classes: Mapping[str, ActionClass]) -> list[Stage]:
        return [
            Stage(
                node.name,
                tuple(name for name in node.after if name in classes),
                spec_of_class(classes[node.name]),
                _check_of(classes[node.name]),
                node.asked.params,
            )
            for node in self._nodes
            if node.name in classes
        ]


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """Give a new temporary folder, which stays where something is left in it."""
    folder = Path(tempfile.mkdtemp(prefix="synapse-pipeline-"))
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _run_here(
    name: str, action: ActionClass, params: dict[str, Any], ctx: RuntimeContext | None, shared: Path
) -> Any:
    """Run one action in this process. Raises ActionFailed."""
    folder = PluginEnvironment({"SYNAPSE_PIPELINE_DIR": str(shared)})
    if ctx is not None:
        ctx = dataclasses.replace(ctx, env=PluginEnvironment.merge(ctx.env, folder))
    executor = LocalExecutor(PluginEnvironment.merge(PluginEnvironment.from_environ(), folder))
    try:
        return executor.execute(action, params, context=ctx)
    except SynapseError as error:
        raise ActionFailed(
            name, error.message, error.details, code=error.code, hint=error.hint, retryable=error.retryable
        ) from error


def _with_after(entries: list[PipelineAction], after: Mapping[str, Sequence[str]]) -> list[PipelineAction]:
    titles = [entry.name or title_of(entry.action) for entry in entries]
    if unknown := [name for name in after if name not in titles]:
        raise InvalidRequest(
            f"after names {unknown[0]!r}, which is not in the pipeline: {', '.join(titles)}."
        )
    return [
        msgspec.structs.replace(entry, after=tuple(after[title])) if title in after else entry
        for entry, title in zip(entries, titles, strict=True)
    ]


def _class_named(node: Node) -> ActionClass:
    plugin, _, action = str(node.asked.action).rpartition("/")
    return discover(plugin or Path.cwd()).get_action_class(action)


def _check_of(action: ActionClass) -> Callable[[dict[str, Any]], None]:
    def check(params: dict[str, Any]) -> None:
        if action.params_model is not None:
            parameters.validate(action.params_model, params)

    return check


def _as_params(result: Any) -> Mapping[str, Any]:
    """Return what a result adds to the parameters of later actions."""
    if isinstance(result, pydantic.BaseModel):
        return result.model_dump()
    return result if isinstance(result, Mapping) else {}


def _shown(action: Any) -> str:
    found = as_class(action)
    return str(action) if found is None else found.__name__


def _tell_nobody(done: int, total: int, name: str) -> None:
    """Stand in for a callback that was not given."""
