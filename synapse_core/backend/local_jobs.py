"""Calls of a LocalBackend about jobs and their logs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from synapse_core.backend import checks, tables
from synapse_core.backend.kinds import JOB, JOB_LOG
from synapse_core.backend.local_calls import LocalCalls, add_rows
from synapse_core.backend.protocol import Filters, Listing
from synapse_core.backend.records import Job, JobLog
from synapse_core.errors import RecordNotFound


class JobCalls(LocalCalls):
    """What became of runs, as the backend is told."""

    def get_job(self, job_id: str) -> Job:
        return self._get(JOB, job_id)

    def list_jobs(self, filters: Filters | None = None) -> Listing[Job]:
        return self._list(JOB, filters)

    def create_job(self, job_id: str, *, plugin: str = "", action: str = "") -> Job:
        row: dict[str, Any] = {
            "id": checks.text("job's id", job_id),
            "plugin": checks.text("plugin", plugin, may_be_empty=True),
            "action": checks.text("action", action, may_be_empty=True),
            "status": "PENDING",
            "progress_record": {},
            "metrics_record": {},
            "result": None,
            "meta": {},
            "created": time.time(),
        }

        def work(connection: sa.Connection) -> Job:
            if not JOB.find(connection, [tables.jobs.c.id == job_id]):
                connection.execute(sa.insert(tables.jobs), row)
            return JOB.get(connection, job_id)

        return self._database.write(work)

    def update_job(
        self,
        job_id: str,
        *,
        status: str | None = None,
        progress_record: Mapping[str, Any] | None = None,
        metrics_record: Mapping[str, Any] | None = None,
        result: Any = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Job:
        given: dict[str, Any] = {
            name: checks.document(name, value)
            for name, value in (
                ("progress_record", progress_record),
                ("metrics_record", metrics_record),
                ("meta", meta),
            )
            if value is not None
        }
        if status is not None:
            given["status"] = checks.one_of("status", status, checks.JOB_STATUSES)
        if result is not None:
            given["result"] = result

        def work(connection: sa.Connection) -> Job:
            JOB.get(connection, job_id)
            if given:
                mine = tables.jobs.c.id == job_id
                connection.execute(sa.update(tables.jobs).where(mine).values(**given))
            return JOB.get(connection, job_id)

        return self._database.write(work)

    def create_logs(self, logs: Sequence[JobLog]) -> int:
        rows = [
            {
                "job": entry.job,
                "event": checks.text("event", entry.event),
                "level": checks.text("level", entry.level),
                "step": entry.step,
                "at": entry.at or time.time(),
                "data": checks.document("data", entry.data),
            }
            for entry in logs
        ]
        names = list(dict.fromkeys(entry.job for entry in logs))

        def work(connection: sa.Connection) -> int:
            JOB.by_ids(connection, names)
            add_rows(connection, tables.job_logs, rows)
            return len(rows)

        return self._database.write(work)

    def list_job_logs(self, job_id: str, *, after: int | None = None) -> Listing[JobLog]:
        if not self._database.read(lambda connection: JOB.find(connection, [tables.jobs.c.id == job_id])):
            raise RecordNotFound("job", job_id)
        return self._list(JOB_LOG, {"job": job_id}, after)
