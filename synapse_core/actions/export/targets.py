"""What can be exported: one line for each kind of record, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_core.errors import BackendRejected, NotFound, did_you_mean

if TYPE_CHECKING:
    from synapse_core.backend import Backend, Listing

Filters = Mapping[str, Any]


@dataclass(frozen=True)
class TargetHandler:
    """One kind of record that can be exported.

    required: a filter that has to be there, so that nobody exports everything by mistake.
    records: (backend, filters, after) -> the records behind the id `after`, by ascending id.
    project: (backend, filters) -> id of the project whose configuration goes with them, None for none.
    aliases: other name -> name of a filter.
    """

    required: str
    records: Callable[[Backend, Filters, int | None], Listing[Any]]
    project: Callable[[Backend, Filters], int | None]
    aliases: tuple[tuple[str, str], ...] = ()

    def filters_of(self, given: Filters) -> dict[str, Any]:
        """Return filters by their proper names. Raises BackendRejected where the required one is missing."""
        names = dict(self.aliases)
        filters = {names.get(name, name): value for name, value in given.items()}
        if filters.get(self.required) is None:
            raise BackendRejected(
                f"The filter {self.required!r} is missing.",
                {"filter": sorted(filters)},
                hint=f"Add it, as in filter={{{self.required!r}: 1}}.",
            )
        return filters


def get_target_handler(name: str) -> TargetHandler:
    """Return the handler of a kind of record. Raises NotFound naming those there are."""
    if name not in _HANDLERS:
        known = list(_HANDLERS)
        raise NotFound(
            f"{name!r} cannot be exported; there are {', '.join(known)}.{did_you_mean(name, known)}",
            {"asked": name, "known": known},
        )
    return _HANDLERS[name]


def register_target_handler(name: str, handler: TargetHandler) -> None:
    """Make another kind of record an export's `target`."""
    _HANDLERS[name] = handler


def _project_of_filters(client: Backend, filters: Filters) -> int | None:
    project = filters["project"]
    if isinstance(project, Sequence) and not isinstance(project, str):
        return int(project[0]) if len(project) == 1 else None
    return int(project)


def _project_of_version(client: Backend, filters: Filters) -> int | None:
    version = filters["ground_truth_version"]
    return client.get_ground_truth_version(int(version)).project if isinstance(version, int | str) else None


_HANDLERS: dict[str, TargetHandler] = {
    "assignment": TargetHandler(
        required="project",
        records=lambda client, filters, after: client.list_assignments(filters, after=after),
        project=_project_of_filters,
    ),
    "ground_truth": TargetHandler(
        required="ground_truth_version",
        records=lambda client, filters, after: client.list_ground_truths(filters, after=after),
        project=_project_of_version,
        aliases=(("ground_truth_dataset_version", "ground_truth_version"),),
    ),
    "task": TargetHandler(
        required="project",
        records=lambda client, filters, after: client.list_tasks(filters, after=after),
        project=_project_of_filters,
    ),
}
