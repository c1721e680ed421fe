"""How each kind of record is asked for: its query, what it can be filtered by, how a row becomes a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from synapse_core.backend import records, tables
from synapse_core.backend.protocol import PAGE_SIZE, Filters
from synapse_core.decoding import converted
from synapse_core.errors import BackendRejected, RecordNotFound, did_you_mean

R = TypeVar("R", bound=records.Record)
Conditions = Sequence[sa.ColumnElement[bool]]
LARGEST_ID = 2**63 - 1
_MOST_VALUES = 10_000


@dataclass(frozen=True)
class Kind(Generic[R]):
    """One kind of record.

    word: what errors call it. filters: names of columns. labels: (field, table) of the words it carries.
    files_of: the column with the id of the data unit whose files it has, None where it has none.
    """

    word: str
    record: type[R]
    table: sa.Table
    filters: tuple[str, ...]
    labels: tuple[str, sa.Table] | None = None
    files_of: str | None = None

    def get(self, connection: sa.Connection, record_id: object) -> R:
        """Return the record of an id. Raises RecordNotFound."""
        found = self.find(connection, [self.table.c.id == record_id]) if self._can_be(record_id) else []
        if not found:
            raise RecordNotFound(self.word, record_id)
        return found[0]

    def find(
        self,
        connection: sa.Connection,
        conditions: Conditions,
        limit: int | None = None,
    ) -> list[R]:
        """Return the records that fulfil the conditions, by ascending id."""
        query = self._query().where(*conditions).order_by(self.table.c.id).limit(limit)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        if self.labels is not None and rows:
            self._add_labels(connection, rows, *self.labels)
        return [self._record(row) for row in rows]

    def by_ids(self, connection: sa.Connection, ids: Sequence[Any]) -> dict[Any, R]:
        """Return id -> record of all of these. Raises RecordNotFound for the first that is not there."""
        found: dict[Any, R] = {}
        for some in batches([one for one in ids if self._can_be(one)]):
            found |= {record["id"]: record for record in self.find(connection, [self.table.c.id.in_(some)])}
        for one in ids:
            if one not in found:
                raise RecordNotFound(self.word, one)
        return found

    def pages(self, read: Any, conditions: Conditions) -> Iterator[list[R]]:
        """Yield pages, each read in a transaction of its own, so that a slow reader holds nothing.

        read: what carries out a function of a connection.
        """
        behind: list[sa.ColumnElement[bool]] = []
        while True:
            wanted = [*conditions, *behind]
            page: list[R] = read(lambda connection, wanted=wanted: self.find(connection, wanted, PAGE_SIZE))
            if page:
                yield page
            if len(page) < PAGE_SIZE:
                return
            behind = [self.table.c.id > page[-1]["id"]]

    def count(self, connection: sa.Connection, conditions: Conditions) -> int:
        query = sa.select(sa.func.count()).select_from(self.table).where(*conditions)
        return int(connection.execute(query).scalar_one())

    def conditions(self, filters: Filters | None, after: int | None = None) -> list[sa.ColumnElement[bool]]:
        """Return what filters ask for. Raises BackendRejected for a name or value that is none."""
        found = [self._condition(name, value) for name, value in (filters or {}).items()]
        if after is not None:
            if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= LARGEST_ID:
                raise BackendRejected(
                    f"`after` is {after!r}; it is the id of the last record that was read, a whole number."
                )
            found.append(self.table.c.id > after)
        return found

    @property
    def known_filters(self) -> list[str]:
        return [*self.filters, *((self.labels[0],) if self.labels is not None else ())]

    def _condition(self, name: str, value: Any) -> sa.ColumnElement[bool]:
        if name not in self.known_filters:
            raise BackendRejected(
                f"A {self.word} cannot be filtered by {name!r}; it can be by {', '.join(self.known_filters)}."
                f"{did_you_mean(name, self.known_filters)}",
                {"filter": name, "known": self.known_filters},
                hint="Leave this filter out, or give one of these.",
            )
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        if len(values) > _MOST_VALUES:
            raise BackendRejected(
                f"The filter {name!r} has {len(values):,} values; {_MOST_VALUES:,} are the most.",
                hint="Ask in several calls.",
            )
        if self.labels is not None and name == self.labels[0]:
            return sa.and_(sa.true(), *(self._carries(self.labels[1], one) for one in values))
        column = self.table.c[name]
        fitting = [self._fitting(column, one) for one in values]
        known = [one for one in fitting if one is not None]
        return sa.or_(column.is_(None), column.in_(known)) if None in fitting else column.in_(known)

    def _fitting(self, column: sa.Column[Any], value: Any) -> Any:
        wanted = column.type.python_type
        if value is None or (isinstance(value, wanted) and not (isinstance(value, bool) and wanted is int)):
            is_too_large = wanted is int and not -LARGEST_ID <= (value or 0) <= LARGEST_ID
            return -1 if is_too_large else value
        if isinstance(value, str):
            # A query of HTTP has texts only.
            if wanted is int and value.isascii() and value.isdigit():
                return self._fitting(column, int(value[:20]))
            if wanted is bool and value.lower() in ("true", "false"):
                return value.lower() == "true"
        raise BackendRejected(
            f"The filter {column.name!r} of a {self.word} wants {wanted.__name__}, not {value!r}.",
            {"filter": column.name},
        )

    def _carries(self, table: sa.Table, label: Any) -> sa.ColumnElement[bool]:
        if not isinstance(label, str):
            raise BackendRejected(f"{label!r} is no text that a {self.word} could carry.")
        return self.table.c.id.in_(sa.select(table.c.owner).where(table.c.label == label))

    def _query(self) -> sa.Select[Any]:
        query = sa.select(*self.table.c)
        if self.files_of is None:
            return query
        units = tables.data_units
        return query.add_columns(units.c.files).join_from(
            self.table, units, units.c.id == self.table.c[self.files_of]
        )

    def _add_labels(
        self, connection: sa.Connection, rows: list[dict[str, Any]], field: str, table: sa.Table
    ) -> None:
        carried: dict[int, list[str]] = {row["id"]: [] for row in rows}
        for some in batches(list(carried)):
            query = (
                sa.select(table.c.owner, table.c.label).where(table.c.owner.in_(some)).order_by(table.c.id)
            )
            for owner, label in connection.execute(query):
                carried[owner].append(label)
        for row in rows:
            row[field] = carried[row["id"]]

    def _record(self, row: Mapping[str, Any]) -> R:
        values = {str(name): value for name, value in row.items() if name != "rest"} | (row.get("rest") or {})
        return converted(values, self.record)

    def _can_be(self, record_id: object) -> bool:
        if isinstance(self.table.c.id.type, sa.String):
            return isinstance(record_id, str) and "\x00" not in record_id
        is_number = isinstance(record_id, int) and not isinstance(record_id, bool)
        return is_number and 0 < record_id <= LARGEST_ID  # type: ignore[operator]  # a number, as just asked


@dataclass(frozen=True)
class StorageKind(Kind[records.StorageRecord]):
    """Storages keep their configuration back: it holds secrets."""

    def _query(self) -> sa.Select[Any]:
        columns = self.table.c
        return sa.select(
            columns.id,
            columns.name,
            columns.provider,
            sa.func.coalesce(columns.is_default, sa.false()).label("is_default"),
        )


def batches(values: Sequence[Any], size: int = 1000) -> Iterator[Sequence[Any]]:
    """Yield the values, at most `size` at a time: a statement takes a limited number."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


STORAGE = StorageKind(
    "storage", records.StorageRecord, tables.storages, ("id", "name", "provider", "is_default")
)
DATA_FILE = Kind("data file", records.DataFile, tables.data_files, ("id", "storage", "checksum"))
DATA_COLLECTION = Kind(
    "data collection",
    records.DataCollection,
    tables.data_collections,
    ("id", "name", "storage", "category"),
)
DATA_UNIT = Kind(
    "data unit",
    records.DataUnit,
    tables.data_units,
    ("id", "data_collection", "key"),
    labels=("groups", tables.data_unit_groups),
)
PROJECT = Kind("project", records.Project, tables.projects, ("id", "name", "data_collection", "category"))
TASK = Kind(
    "task",
    records.Task,
    tables.tasks,
    ("id", "project", "data_unit", "status"),
    labels=("tags", tables.task_tags),
    files_of="data_unit",
)
ASSIGNMENT = Kind(
    "assignment",
    records.Assignment,
    tables.assignments,
    ("id", "project", "task", "data_unit", "status"),
    labels=("tags", tables.assignment_tags),
    files_of="data_unit",
)
GROUND_TRUTH_VERSION = Kind(
    "ground truth version",
    records.GroundTruthVersion,
    tables.ground_truth_versions,
    ("id", "dataset", "version", "project"),
)
GROUND_TRUTH = Kind(
    "ground truth",
    records.GroundTruth,
    tables.ground_truths,
    ("id", "ground_truth_version", "data_unit", "category"),
    files_of="data_unit",
)
MODEL = Kind(
    "model",
    records.Model,
    tables.models,
    ("id", "name", "version", "checksum", "plugin", "plugin_version", "checkpoint", "run_id", "dataset"),
)
PLUGIN_RELEASE = Kind(
    "plugin release", records.PluginRelease, tables.plugin_releases, ("id", "plugin", "version", "checksum")
)
SERVE_APPLICATION = Kind(
    "serve application",
    records.ServeApplication,
    tables.serve_applications,
    ("id", "name", "job", "model", "status"),
)
JOB = Kind("job", records.Job, tables.jobs, ("id", "plugin", "action", "status"))
JOB_LOG = Kind("log entry", records.JobLog, tables.job_logs, ("job", "event", "level", "step"))
