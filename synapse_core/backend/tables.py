"""The tables of a LocalBackend. Columns bear the names of the records' fields.

What is asked for, refers or must be unique has a column of its own; the rest of a record is JSON.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

metadata = sa.MetaData()

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(200)
_CHECKSUM = sa.String(64)


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value, as bytes; None is NULL."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> bytes | None:
        return None if value is None else msgspec.json.encode(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else msgspec.json.decode(value)


def _table(name: str, *columns: sa.Column[Any] | sa.UniqueConstraint | sa.Index) -> sa.Table:
    """Return a table whose ids only ever rise, so that `after` an id misses nothing and repeats nothing."""
    id_column = sa.Column("id", _NUMBER, primary_key=True)
    return sa.Table(name, metadata, id_column, *columns, sqlite_autoincrement=True)


def _refers(name: str, target: str, *, ondelete: str | None = None, **options: Any) -> sa.Column[Any]:
    nullable = options.pop("nullable", False)
    key = sa.ForeignKey(f"{target}.id", ondelete=ondelete)
    return sa.Column(name, _NUMBER, key, nullable=nullable, **options)


def _labels(name: str, target: str) -> sa.Table:
    """Return a table of words that records of another one carry."""
    return _table(
        name,
        _refers("owner", target, ondelete="CASCADE"),
        sa.Column("label", _NAME, nullable=False, index=True),
        sa.UniqueConstraint("owner", "label"),
    )


storages = _table(
    "storages",
    sa.Column("name", _NAME, nullable=False),
    sa.Column("provider", _NAME, nullable=False),
    sa.Column("configuration", Json, nullable=False),
    # True for one, NULL for all others: that is what a unique column allows.
    sa.Column("is_default", sa.Boolean, unique=True),
)
data_files = _table(
    "data_files",
    _refers("storage", "storages"),
    sa.Column("checksum", _CHECKSUM, nullable=False),
    sa.Column("file", Json, nullable=False),
    sa.UniqueConstraint("storage", "checksum"),
)

data_collections = _table(
    "data_collections",
    sa.Column("name", _NAME, nullable=False),
    _refers("storage", "storages"),
    sa.Column("category", _NAME, nullable=False),
    sa.Column("rest", Json, nullable=False),
)
data_units = _table(
    "data_units",
    _refers("data_collection", "data_collections"),
    sa.Column("key", sa.String(500), nullable=False),
    sa.Column("files", Json, nullable=False),
    sa.Column("meta", Json, nullable=False),
    sa.UniqueConstraint("data_collection", "key"),
)
data_unit_groups = _labels("data_unit_groups", "data_units")
# What a collection has already, by content.
data_unit_files = _table(
    "data_unit_files",
    _refers("data_unit", "data_units", ondelete="CASCADE", index=True),
    sa.Column("data_collection", _NUMBER, nullable=False),
    sa.Column("checksum", _CHECKSUM, nullable=False),
    sa.Index("data_unit_files_by_checksum", "data_collection", "checksum"),
)

projects = _table(
    "projects",
    sa.Column("name", _NAME, nullable=False),
    _refers("data_collection", "data_collections"),
    sa.Column("category", _NAME, nullable=False),
    sa.Column("rest", Json, nullable=False),
)
tasks = _table(
    "tasks",
    _refers("project", "projects"),
    _refers("data_unit", "data_units", index=True),
    sa.Column("status", _NAME, nullable=False),
    sa.Column("data", Json),
    sa.UniqueConstraint("project", "data_unit"),
)
task_tags = _labels("task_tags", "tasks")
assignments = _table(
    "assignments",
    _refers("project", "projects", index=True),
    _refers("task", "tasks", unique=True),
    _refers("data_unit", "data_units"),
    sa.Column("status", _NAME, nullable=False),
    sa.Column("data", Json),
)
assignment_tags = _labels("assignment_tags", "assignments")

ground_truth_versions = _table(
    "ground_truth_versions",
    sa.Column("dataset", _NAME, nullable=False),
    sa.Column("version", _NAME, nullable=False),
    _refers("project", "projects", nullable=True),
    sa.Column("counts", Json, nullable=False),
    sa.UniqueConstraint("dataset", "version"),
)
ground_truths = _table(
    "ground_truths",
    _refers("ground_truth_version", "ground_truth_versions", index=True),
    _refers("data_unit", "data_units", index=True),
    sa.Column("category", _NAME, nullable=False),
    sa.Column("data", Json),
)

models = _table(
    "models",
    sa.Column("name", _NAME, nullable=False),
    sa.Column("version", _NAME, nullable=False),
    sa.Column("checksum", _CHECKSUM, nullable=False, index=True),
    sa.Column("file", Json, nullable=False),
    sa.Column("plugin", _NAME, nullable=False),
    sa.Column("plugin_version", _NAME, nullable=False),
    # No foreign key: a model stays what it was made of when that is deleted.
    sa.Column("checkpoint", _NUMBER),
    sa.Column("run_id", _NAME),
    _refers("dataset", "ground_truth_versions", nullable=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("rest", Json, nullable=False),
    sa.UniqueConstraint("name", "version"),
)
plugin_releases = _table(
    "plugin_releases",
    sa.Column("plugin", _NAME, nullable=False),
    sa.Column("version", _NAME, nullable=False),
    sa.Column("checksum", _CHECKSUM, nullable=False),
    sa.Column("size_bytes", _NUMBER, nullable=False),
    sa.Column("file", Json, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("rest", Json, nullable=False),
    sa.UniqueConstraint("plugin", "version"),
)
serve_applications = _table(
    "serve_applications",
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("job", _NAME),
    _refers("model", "models", ondelete="SET NULL", nullable=True),
    sa.Column("status", _NAME, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", _NAME, primary_key=True),
    sa.Column("plugin", _NAME, nullable=False),
    sa.Column("action", _NAME, nullable=False),
    sa.Column("status", _NAME, nullable=False),
    sa.Column("progress_record", Json, nullable=False),
    sa.Column("metrics_record", Json, nullable=False),
    sa.Column("result", Json),
    sa.Column("meta", Json, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)
job_logs = _table(
    "job_logs",
    sa.Column("job", _NAME, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("event", _NAME, nullable=False),
    sa.Column("level", _NAME, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Index("job_logs_by_job", "job", "id"),
)
