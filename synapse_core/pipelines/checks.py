"""What can be known to be wrong with a pipeline before any of it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synapse_core.describe import ActionSpec
from synapse_core.errors import SchemaIncompatibleError, ValidationError, nearest
from synapse_core.params import problem_line
from synapse_core.pipelines.graph import ancestors_of
from synapse_core.types import DataType, are_compatible

Check = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Stage:
    """One entry of a pipeline as far as it can be judged.

    check: raises ValidationError for parameters that the action does not take.
    returned: what it gave in an earlier run that is gone on with; None where it is still to be run.
    """

    name: str
    after: tuple[str, ...]
    spec: ActionSpec
    check: Check
    params: Mapping[str, Any]
    returned: Any = None
    is_done: bool = False

    @property
    def takes(self) -> tuple[str, ...] | None:
        """The parameters that the action knows, None where it takes any."""
        schema = self.spec.params_schema
        if schema is None or schema.get("additionalProperties") not in (None, False):
            return None
        return tuple(dict.fromkeys((*schema.get("properties", {}), *self.spec.param_names)))

    @property
    def aliases(self) -> frozenset[str]:
        """The further names under which parameters can be given; of which parameter each is, nobody says."""
        properties = (self.spec.params_schema or {}).get("properties", {})
        return frozenset(self.spec.param_names) - frozenset(properties)

    @property
    def gives(self) -> frozenset[str] | None:
        """The names of what the action returns, None where nobody can know."""
        if self.is_done:
            return frozenset(self.returned) if isinstance(self.returned, Mapping) else frozenset()
        schema = self.spec.result_schema
        return None if schema is None else frozenset(schema.get("properties", {}))


def check_stages(stages: Sequence[Stage], params: Mapping[str, Any]) -> None:
    """Raise SchemaIncompatibleError or ValidationError, with every problem at once, where it cannot work."""
    if told := list(type_problems(stages)):
        raise SchemaIncompatibleError(
            "\n".join(told),
            {"mismatches": told},
            hint="Put an action between them that converts, or correct input_type and output_type.",
        )
    check_params(stages, params)


def type_problems(stages: Sequence[Stage]) -> Iterator[str]:
    """Yield a sentence for each action whose output is not what the next one takes."""
    by_name = {stage.name: stage for stage in stages}
    known = {kind.name: kind for kind in _kinds(DataType)}
    for stage in stages:
        for before in (by_name[name] for name in stage.after):
            given, taken = before.spec.output_type, stage.spec.input_type
            if given is None or taken is None or given == taken:
                continue
            if given in known and taken in known and not are_compatible(known[given], known[taken]):
                yield (
                    f"{before.name!r} ({before.spec.plugin}/{before.spec.name}) gives {given}, but "
                    f"{stage.name!r} ({stage.spec.plugin}/{stage.spec.name}) takes {taken}."
                )


def check_params(stages: Sequence[Stage], params: Mapping[str, Any]) -> None:
    """Raise ValidationError for values that do not fit, names that nobody takes, and what nobody gives."""
    _raise_for([*_unknown(stages, params), *_of_all(stages, params)])


def check_values(stages: Sequence[Stage], params: Mapping[str, Any]) -> None:
    """Raise ValidationError for values that do not fit, and for what nobody gives."""
    _raise_for(list(_of_all(stages, params)))


def missing_fields(stages: Sequence[Stage], params: Mapping[str, Any]) -> list[str]:
    """Return 'name.field' of every required parameter that neither `params` nor an earlier action gives."""
    return [str(problem["path"]) for problem in _of_all(stages, params) if problem.get("type") == "missing"]


def given_to(takes: tuple[str, ...] | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `params` that an action knows."""
    return {key: value for key, value in params.items() if takes is None or key in takes}


def _raise_for(problems: list[dict[str, Any]]) -> None:
    if not problems:
        return
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = "\n".join(f"- {problem_line(problem)}" for problem in problems)
    raise ValidationError(
        f"{count} with the parameters of the pipeline:\n{lines}",
        problems=problems,
        hint="Give what is missing in params, or in the params of that action; nothing was started.",
    )


def _of_all(stages: Sequence[Stage], params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for stage in stages:
        yield from _of_stage(stage, stages, params)


def _of_stage(stage: Stage, stages: Sequence[Stage], params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if stage.is_done:
        return
    before = ancestors_of({each.name: each.after for each in stages})[stage.name]
    given = [each.gives for each in stages if each.name in before]
    promised = frozenset[str]().union(*(names for names in given if names is not None))
    is_open = None in given
    try:
        stage.check({**given_to(stage.takes, params), **stage.params})
    except ValidationError as error:
        for problem in error.problems or [{"path": "", "message": error.message}]:
            path = str(problem["path"])
            may_come = is_open or path in promised or not promised.isdisjoint(stage.aliases)
            if problem.get("type") == "missing" and "." not in path and may_come:
                continue
            if not path and (is_open or promised):
                continue  # about the parameters as a whole, which are not all there yet
            yield {**problem, "path": f"{stage.name}.{path}".rstrip(".")}


def _unknown(stages: Sequence[Stage], params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a problem for each parameter of the pipeline that none of its actions knows."""
    taken = [stage.takes for stage in stages]
    if None in taken:
        return
    known = sorted({name for names in taken if names is not None for name in names})
    for key in params:
        if key not in known:
            near = nearest(key, known, most=1)
            yield {
                "path": key,
                "message": "no action of the pipeline takes this parameter",
                "type": "unknown_key",
                "allowed": ", ".join(known) or "no parameters",
                **({"did_you_mean": near[0]} if near else {}),
            }


def _kinds(kind: type[DataType]) -> Iterator[type[DataType]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)
