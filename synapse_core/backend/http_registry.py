"""The part of HttpBackend that is about models, plugin releases, deployments and jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from synapse_core.backend import checks
from synapse_core.backend.http_answers import Answer, Page
from synapse_core.backend.http_transfers import json_body, post_with_file
from synapse_core.backend.http_wire import Wire
from synapse_core.backend.protocol import PAGE_SIZE, Filters, Listing
from synapse_core.backend.records import (
    Job,
    JobLog,
    Model,
    PluginRelease,
    ServeApplication,
)
from synapse_core.errors import BackendRejected, InvalidAnswer, RecordNotFound

T = TypeVar("T")
# Servers and proxies take addresses of some 8,000 characters.
_MOST_QUERY = 4_000


class Taken(msgspec.Struct, frozen=True):
    """How many records a call was about."""

    count: int


class RestCalls:
    """The shapes that calls of the REST API have: one record, a list, a change."""

    _wire: Wire

    def _get(self, kind: type[T], path: str, record_id: object, params: Any = None) -> T:
        try:
            answer = self._wire.send("GET", f"{path}/{quote(str(record_id), safe='@')}/", params=params)
        except RecordNotFound as error:
            if error.details["asked"] == record_id:
                raise
            # The service has no such address, and an address knows texts only.
            word = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
            raise RecordNotFound(word, record_id, hint=error.hint) from error
        return answer.decoded(kind)

    def _post(
        self, path: str, value: object, *, method: str = "POST", is_repeatable: bool | None = None
    ) -> Answer:
        return self._wire.send(
            *(method, path),
            body=json_body(value),
            headers={"Content-Type": "application/json"},
            is_repeatable=is_repeatable,
        )

    def _delete(self, path: str, record_id: int) -> None:
        self._wire.send("DELETE", f"{path}/{quote(str(record_id), safe='')}/")

    def _list(
        self, kind: type[T], path: str, filters: Filters | None, *, after: int | None = None
    ) -> Listing[T]:
        """Return a list, whose first page is asked for at once, and whose next ones when they are read."""
        # msgspec makes the type of a page out of that of its records.
        wanted: type[Page[T]] = Page[kind]  # type: ignore[valid-type]
        query = query_of(filters)
        begin = [("page_size", str(PAGE_SIZE)), *([("after", str(after))] if after is not None else [])]
        is_long = sum(len(name) + len(value) for name, value in query) > _MOST_QUERY

        def ask(place: Sequence[tuple[str, str]]) -> Page[T]:
            whole = [*query, *place]
            if not is_long:
                return self._wire.send("GET", path, params=whole).decoded(wanted)
            # Too long for an address: it travels in the body of what is a GET all the same.
            content = {"content": urlencode(whole).encode()}
            return self._wire.send(
                *("POST", path),
                body=lambda: nullcontext(content),
                headers={"X-HTTP-Method-Override": "GET"},
                is_repeatable=True,
            ).decoded(wanted)

        first = [ask(begin)]
        count = first[0].count

        def pages() -> Iterator[Sequence[T]]:
            # The page that told the count is the first one, once: reading again asks again.
            page = first.pop() if first else ask(begin)
            seen = set()
            yield page.results
            while page.next is not None:
                if page.next in seen:
                    raise InvalidAnswer(
                        f"{self._wire.base} gave the same page of {path} twice.",
                        hint="The list would never end; its service has a fault.",
                    )
                seen.add(page.next)
                following = self._wire.address(page.next)
                if is_long:
                    page = ask(parse_qsl(urlsplit(following).query))
                else:
                    page = self._wire.send("GET", following).decoded(wanted)
                yield page.results

        return Listing(count, pages)


class RegistryCalls(RestCalls):
    """Models, releases, deployments and jobs of a service."""

    def get_model(self, model_id: int) -> Model:
        return self._get(Model, "models", model_id)

    def list_models(self, filters: Filters | None = None, *, after: int | None = None) -> Listing[Model]:
        return self._list(Model, "models/", filters, after=after)

    def create_model(
        self,
        name: str,
        path: Path,
        *,
        version: str | None = None,
        plugin: str = "",
        plugin_version: str = "",
        checkpoint: int | None = None,
        run_id: str | None = None,
        dataset: int | None = None,
        metrics: Mapping[str, float] | None = None,
        configuration: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Model:
        fields = {
            "name": name,
            "version": version,
            "plugin": plugin,
            "plugin_version": plugin_version,
            "checkpoint": checkpoint,
            "run_id": run_id,
            "dataset": dataset,
            # JSON has no way to say NaN, and the service could not tell what was meant.
            "metrics": checks.numbers("metrics", metrics),
            "configuration": configuration,
            "description": description,
        }
        # Without a version each call makes a model.
        keyed = version is not None
        return post_with_file(self._wire, "models/", fields, path, is_repeatable=keyed).decoded(Model)

    def delete_model(self, model_id: int) -> None:
        self._delete("models", model_id)

    def get_plugin_release(self, lookup: str | int) -> PluginRelease:
        return self._get(PluginRelease, "plugin_releases", lookup)

    def list_plugin_releases(self, filters: Filters | None = None) -> Listing[PluginRelease]:
        return self._list(PluginRelease, "plugin_releases/", filters)

    def create_plugin_release(
        self,
        plugin: str,
        version: str,
        archive: Path,
        *,
        config: Mapping[str, Any],
        requirements: Sequence[str] = (),
    ) -> PluginRelease:
        fields = {"plugin": plugin, "version": version, "config": config, "requirements": list(requirements)}
        answer = post_with_file(self._wire, "plugin_releases/", fields, archive, is_repeatable=True)
        return answer.decoded(PluginRelease)

    def list_serve_applications(self, filters: Filters | None = None) -> Listing[ServeApplication]:
        return self._list(ServeApplication, "serve_applications/", filters)

    def create_serve_application(
        self,
        name: str,
        *,
        job: str | None = None,
        model: int | None = None,
        status: str = "DEPLOYING",
        data: Mapping[str, Any] | None = None,
    ) -> ServeApplication:
        fields = {"name": name, "job": job, "model": model, "status": status, "data": data}
        return self._post("serve_applications/", fields, is_repeatable=True).decoded(ServeApplication)

    def delete_serve_application(self, application_id: int) -> None:
        self._delete("serve_applications", application_id)

    def get_job(self, job_id: str) -> Job:
        return self._get(Job, "jobs", job_id)

    def list_jobs(self, filters: Filters | None = None) -> Listing[Job]:
        return self._list(Job, "jobs/", filters)

    def create_job(self, job_id: str, *, plugin: str = "", action: str = "") -> Job:
        fields = {"id": job_id, "plugin": plugin, "action": action}
        return self._post("jobs/", fields, is_repeatable=True).decoded(Job)

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
        given = {
            "status": status,
            "progress_record": progress_record,
            "metrics_record": metrics_record,
            "result": result,
            "meta": meta,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        path = f"jobs/{quote(job_id, safe='')}/"
        return self._post(path, changes, method="PATCH", is_repeatable=True).decoded(Job)

    def create_logs(self, logs: Sequence[JobLog]) -> int:
        return self._post("logs/", list(logs)).decoded(Taken).count

    def list_job_logs(self, job_id: str, *, after: int | None = None) -> Listing[JobLog]:
        return self._list(JobLog, f"jobs/{quote(job_id, safe='')}/console_logs/", None, after=after)


def query_of(filters: Filters | None) -> list[tuple[str, str]]:
    """Return filters as the parts of a query. A list repeats its name; None and an empty list have words."""
    query = []
    for name, value in (filters or {}).items():
        many = isinstance(value, list | tuple | set | frozenset)
        values = list(value) if many else [value]
        if not values:
            query.append((f"{name}__in", ""))
        for one in values:
            if one is None:
                query.append((f"{name}__isnull", "true"))
            elif isinstance(one, bool):
                query.append((name, "true" if one else "false"))
            elif isinstance(one, str | int | float):
                query.append((name, str(one)))
            else:
                raise BackendRejected(
                    f"The filter {name!r} cannot be {type(one).__name__}; it can be a text or a number, or a "
                    "list of them."
                )
    return query
