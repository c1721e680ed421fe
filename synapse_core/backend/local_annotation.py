"""Calls of a LocalBackend about projects, tasks, assignments and ground truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from synapse_core.backend import checks, tables
from synapse_core.backend.kinds import (
    ASSIGNMENT,
    DATA_COLLECTION,
    DATA_UNIT,
    GROUND_TRUTH,
    GROUND_TRUTH_VERSION,
    PROJECT,
    TASK,
    Kind,
    batches,
)
from synapse_core.backend.local_calls import LocalCalls, add_row, add_rows
from synapse_core.backend.protocol import Filters, Listing
from synapse_core.backend.records import (
    Assignment,
    GroundTruth,
    GroundTruthVersion,
    NewTask,
    Project,
    Task,
)
from synapse_core.errors import BackendConflict, BackendRejected

_ACTIONS = ("save", "submit", "withdraw")


class AnnotationCalls(LocalCalls):
    """What is annotated, by whom, and what was frozen of it."""

    def get_project(self, project_id: int) -> Project:
        return self._get(PROJECT, project_id)

    def list_projects(self, filters: Filters | None = None) -> Listing[Project]:
        return self._list(PROJECT, filters)

    def create_project(
        self,
        name: str,
        data_collection: int,
        *,
        category: str = "image",
        description: str = "",
        configuration: Mapping[str, Any] | None = None,
    ) -> Project:
        row = {
            "name": checks.text("project's name", name),
            "data_collection": data_collection,
            "category": checks.text("category", category),
            "rest": {
                "description": description,
                "configuration": checks.document("configuration", configuration),
            },
        }

        def work(connection: sa.Connection) -> Project:
            DATA_COLLECTION.get(connection, data_collection)
            return PROJECT.get(connection, add_row(connection, tables.projects, row))

        return self._database.write(work)

    def get_task(self, task_id: int) -> Task:
        return self._get(TASK, task_id)

    def list_tasks(self, filters: Filters | None = None, *, after: int | None = None) -> Listing[Task]:
        return self._list(TASK, filters, after)

    def create_tasks(self, project_id: int, tasks: Sequence[NewTask]) -> list[Task]:
        for task in tasks:
            checks.texts("tag", task.tags)
        first = {task.data_unit: task for task in reversed(tasks)}
        wanted = {task.data_unit: first[task.data_unit] for task in tasks}

        def work(connection: sa.Connection) -> list[Task]:
            project = PROJECT.get(connection, project_id)
            units = DATA_UNIT.by_ids(connection, list(wanted))
            foreign = [unit.id for unit in units.values() if unit.data_collection != project.data_collection]
            checks.reject(
                f"Tasks cannot be made in project {project_id}",
                [f"data unit {one} is not of data collection {project.data_collection}" for one in foreign],
            )
            known = _tasks_by_unit(connection, project_id, list(wanted))
            new = [task for unit, task in wanted.items() if unit not in known]
            if new:
                _add_tasks(connection, project_id, new)
                known |= _tasks_by_unit(connection, project_id, [task.data_unit for task in new])
            return [known[task.data_unit] for task in tasks]

        return self._database.write(work)

    def annotate_task_data(self, task_id: int, content: Mapping[str, Any]) -> Task:
        action = checks.one_of("action", content.get("action"), _ACTIONS)
        data = content.get("data")
        if data is not None:
            data = checks.document("data", data)
        changes: dict[str, Any] = {"data": data} if "data" in content else {}
        if action != "save":
            changes["status"] = "submitted" if action == "submit" else "open"

        def work(connection: sa.Connection) -> Task:
            TASK.get(connection, task_id)
            if changes:
                mine = tables.tasks.c.id == task_id
                connection.execute(sa.update(tables.tasks).where(mine).values(**changes))
            task = TASK.get(connection, task_id)
            if action == "submit":
                _submit(connection, task)
            if action == "withdraw":
                connection.execute(sa.delete(tables.assignments).where(tables.assignments.c.task == task_id))
            return task

        return self._database.write(work)

    def set_tags_tasks(self, task_ids: Sequence[int], tags: Sequence[str], action: str = "add") -> None:
        self._set_tags(TASK, tables.task_tags, task_ids, tags, action)

    def get_assignment(self, assignment_id: int) -> Assignment:
        return self._get(ASSIGNMENT, assignment_id)

    def list_assignments(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[Assignment]:
        return self._list(ASSIGNMENT, filters, after)

    def get_assignments(self, filters: Filters | None = None) -> tuple[Listing[Assignment], int]:
        found = self.list_assignments(filters)
        return found, found.count

    def set_tags_assignments(
        self, assignment_ids: Sequence[int], tags: Sequence[str], action: str = "add"
    ) -> None:
        self._set_tags(ASSIGNMENT, tables.assignment_tags, assignment_ids, tags, action)

    def get_ground_truth_version(self, version_id: int) -> GroundTruthVersion:
        return self._get(GROUND_TRUTH_VERSION, version_id)

    def list_ground_truth_versions(self, filters: Filters | None = None) -> Listing[GroundTruthVersion]:
        return self._list(GROUND_TRUTH_VERSION, filters)

    def create_ground_truth_version(
        self, dataset: str, version: str, *, project: int, splits: Mapping[str, Sequence[int]] | None = None
    ) -> GroundTruthVersion:
        checks.text("dataset", dataset)
        checks.text("version", version)
        for split in splits or {}:
            checks.one_of("split", split, checks.SPLITS)
        columns = tables.ground_truth_versions.c

        def work(connection: sa.Connection) -> GroundTruthVersion:
            PROJECT.get(connection, project)
            same = [columns.dataset == dataset, columns.version == version]
            for found in GROUND_TRUTH_VERSION.find(connection, same):
                raise BackendConflict(
                    f"There is a version {version!r} of the ground truth dataset {dataset!r} already; what "
                    "it holds is frozen.",
                    {"ground_truth_version": found.id},
                    hint="Give another version.",
                )
            row = {"dataset": dataset, "version": version, "project": project, "counts": {}}
            made = add_row(connection, tables.ground_truth_versions, row)
            if splits is None:
                _freeze(connection, made, "", [tables.assignments.c.project == project])
            else:
                _freeze_splits(connection, made, project, splits)
            counts = _counts(connection, made, tuple(splits) if splits is not None else ("",))
            filled = sa.update(tables.ground_truth_versions).where(columns.id == made).values(counts=counts)
            connection.execute(filled)
            return GROUND_TRUTH_VERSION.get(connection, made)

        return self._database.write(work)

    def list_ground_truths(
        self, filters: Filters | None = None, *, after: int | None = None
    ) -> Listing[GroundTruth]:
        return self._list(GROUND_TRUTH, filters, after)

    def _set_tags(
        self, kind: Kind[Any], table: sa.Table, ids: Sequence[int], tags: Sequence[str], action: str
    ) -> None:
        checks.one_of("action", action, ("add", "remove"))
        labels = checks.texts("tag", tags)
        owners = list(dict.fromkeys(ids))

        def work(connection: sa.Connection) -> None:
            kind.by_ids(connection, owners)
            for some in batches(owners):
                named = sa.and_(table.c.owner.in_(some), table.c.label.in_(labels))
                if action == "remove":
                    connection.execute(sa.delete(table).where(named))
                    continue
                carried = sa.select(table.c.owner, table.c.label).where(named)
                known = {(owner, label) for owner, label in connection.execute(carried)}
                rows = [
                    {"owner": owner, "label": label}
                    for owner in some
                    for label in labels
                    if (owner, label) not in known
                ]
                add_rows(connection, table, rows)

        self._database.write(work)


def _tasks_by_unit(connection: sa.Connection, project_id: int, units: Sequence[int]) -> dict[int, Task]:
    columns = tables.tasks.c
    found: dict[int, Task] = {}
    for some in batches(units):
        asked = [columns.project == project_id, columns.data_unit.in_(some)]
        found |= {task.data_unit: task for task in TASK.find(connection, asked)}
    return found


def _add_tasks(connection: sa.Connection, project_id: int, new: Sequence[NewTask]) -> None:
    rows = [
        {"project": project_id, "data_unit": task.data_unit, "status": "open", "data": task.data}
        for task in new
    ]
    add_rows(connection, tables.tasks, rows)
    if not any(task.tags for task in new):
        return
    ids = {
        unit: task.id
        for unit, task in _tasks_by_unit(connection, project_id, [task.data_unit for task in new]).items()
    }
    tags = [{"owner": ids[task.data_unit], "label": tag} for task in new for tag in dict.fromkeys(task.tags)]
    add_rows(connection, tables.task_tags, tags)


def _submit(connection: sa.Connection, task: Task) -> None:
    """Make an assignment of a task, or change the one that was submitted before."""
    content = {"status": "submitted", "data": task.data}
    mine = tables.assignments.c.task == task.id
    changed = connection.execute(sa.update(tables.assignments).where(mine).values(**content))
    if not changed.rowcount:
        row = {"project": task.project, "task": task.id, "data_unit": task.data_unit, **content}
        add_row(connection, tables.assignments, row)


def _freeze_splits(
    connection: sa.Connection, version_id: int, project: int, splits: Mapping[str, Sequence[int]]
) -> None:
    named = [one for ids in splits.values() for one in ids]
    if len(set(named)) != len(named):
        twice = sorted({one for one in named if named.count(one) > 1})[:10]
        raise BackendRejected(f"Assignments can be in one split only; these are there twice: {twice}.")
    found = ASSIGNMENT.by_ids(connection, named)
    foreign = [assignment.id for assignment in found.values() if assignment.project != project]
    checks.reject(
        "The ground truth cannot be frozen",
        [f"assignment {one} is not of project {project}" for one in foreign],
    )
    for split, ids in splits.items():
        for some in batches(sorted(ids)):
            _freeze(connection, version_id, split, [tables.assignments.c.id.in_(some)])


def _freeze(
    connection: sa.Connection, version_id: int, category: str, which: Sequence[sa.ColumnElement[bool]]
) -> None:
    """Copy what assignments say now, without reading it here."""
    source = tables.assignments.c
    copied = (
        sa.select(sa.literal(version_id), source.data_unit, sa.literal(category), source.data)
        .where(*which)
        .order_by(source.id)
    )
    columns = ["ground_truth_version", "data_unit", "category", "data"]
    connection.execute(sa.insert(tables.ground_truths).from_select(columns, copied))


def _counts(connection: sa.Connection, version_id: int, splits: Sequence[str]) -> dict[str, int]:
    columns = tables.ground_truths.c
    query = (
        sa.select(columns.category, sa.func.count())
        .where(columns.ground_truth_version == version_id)
        .group_by(columns.category)
    )
    return dict.fromkeys(splits, 0) | {row[0]: row[1] for row in connection.execute(query)}
