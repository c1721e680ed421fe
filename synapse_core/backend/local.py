"""The embedded backend, which is the default: tables in the home's database, files in its storage."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import sqlalchemy as sa

from synapse_core.backend.local_annotation import AnnotationCalls
from synapse_core.backend.local_data import DataCalls
from synapse_core.backend.local_jobs import JobCalls
from synapse_core.backend.local_models import ModelCalls


class LocalBackend(DataCalls, AnnotationCalls, ModelCalls, JobCalls):
    """A Backend without a service, shared by all processes that use the same home or the same database.

    LocalBackend(home, database_url=None): database_url is any SQLAlchemy URL; without it the database is that
    of the runs, see synapse_core.database. What it stores itself lies in the default storage, which is a
    folder of the home until another one is made the default.
    """

    def check(self) -> dict[str, Any]:
        """Return `{kind, address, version}` once the database has answered."""
        self._database.read(lambda connection: connection.execute(sa.select(1)))
        return {"kind": "local", "address": self._database.address, "version": version("synapse-mcp")}
