"""What HttpBackend costs over plain httpx against the same service, which is a process of its own."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import msgspec

from benchmarks.measure import Figure, interleaved, milliseconds
from benchmarks.world import World
from synapse_core.backend import FileReference, FileSpecification, NewDataUnit, NewTask
from synapse_core.backend.http import HttpBackend
from synapse_core.backend.local import LocalBackend

_ASSIGNMENTS = 10_000
_UNITS = 200
_GETS = 5
_LEAST = 0.8
_FILE = FileReference(storage=1, path="data/aa/x.png", checksum="a" * 64, size_bytes=1000, name="x.png")


def figures(world: World) -> Iterator[Figure]:
    """Both keep one connection; httpx makes plain dicts of the answers, HttpBackend makes records."""
    home = world.home / "backend-http"
    count = 1_000 if world.is_short else _ASSIGNMENTS
    collection = _seed(home, count)
    with _service(home) as (url, token):
        headers = {"Synapse-Access-Token": f"Token {token}"}
        with HttpBackend(url, token) as backend, httpx.Client(base_url=url, headers=headers) as plain:
            pairs = world.pairs(9)
            yield _figure(
                f"list {count:,} assignments in pages of 100 (httpx)",
                lambda: _all(count, sum(1 for _ in backend.list_assignments())),
                lambda: _all(count, sum(1 for _ in _plain_list(plain))),
                pairs,
            )
            ids = [assignment.id for assignment in itertools.islice(backend.list_assignments(), _GETS)]
            yield _figure(
                f"get {_GETS} assignments by id (httpx)",
                lambda: [backend.get_assignment(one) for one in ids],
                lambda: [plain.get(f"/assignments/{one}/").json() for one in ids],
                # Many short ones: on a busy machine a single long one tells who was lucky.
                200,
            )
            numbers = itertools.count()
            yield _figure(
                f"create {_UNITS} data units in one call (httpx)",
                lambda: backend.create_data_units(collection, _units(next(numbers))),
                lambda: _plain_create(plain, collection, _units(next(numbers))),
                world.pairs(45),
            )


def _figure(name: str, ours: Callable[[], Any], plain: Callable[[], Any], pairs: int) -> Figure:
    mine, theirs = interleaved(lambda: milliseconds(ours), lambda: milliseconds(plain), pairs)
    ratio = median(theirs) / median(mine)
    return Figure(
        name,
        f"{median(mine):.2f} ms",
        f"{median(theirs):.2f} ms",
        ratio,
        f">= {_LEAST:g} x",
        ratio >= _LEAST,
        f"({len(mine)} pairs, fastest {min(mine):.2f} and {min(theirs):.2f} ms)",
    )


def _seed(home: Path, count: int) -> int:
    """Fill a home with submitted tasks. Returns the id of its data collection."""
    local = LocalBackend(home)
    local.open_storage()
    collection = local.create_data_collection("Streets", [FileSpecification(name="image")])
    project = local.create_project("Cars", collection.id)
    units = local.create_data_units(
        collection.id, [NewDataUnit(key=f"seed {number}", files={"image": _FILE}) for number in range(count)]
    )
    boxes = [{"id": f"b{n}", "classification": "car", "attrs": [], "data": [n, 2, 3, 4]} for n in range(5)]
    document = {"classification": {"bounding_box": ["car"]}, "images": [{"bounding_box": boxes}]}
    for task in local.create_tasks(project.id, [NewTask(data_unit=unit.id) for unit in units]):
        local.annotate_task_data(task.id, {"action": "submit", "data": document})
    local.close()
    return collection.id


def _plain_list(plain: httpx.Client) -> Iterator[dict[str, Any]]:
    url: str | None = "/sdk/assignments/?page_size=100"
    while url is not None:
        page = plain.get(url).raise_for_status().json()
        yield from page["results"]
        url = page["next"]


def _plain_create(plain: httpx.Client, collection: int, units: list[NewDataUnit]) -> list[dict[str, Any]]:
    body = [{"data_collection": collection, **msgspec.to_builtins(unit)} for unit in units]
    made: list[dict[str, Any]] = plain.post("/data_units/", json=body).raise_for_status().json()
    return made


def _units(number: int) -> list[NewDataUnit]:
    return [NewDataUnit(key=f"{number} {each}", files={"image": _FILE}) for each in range(_UNITS)]


def _all(wanted: int, found: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} of {wanted} assignments came")


@contextmanager
def _service(home: Path) -> Iterator[tuple[str, str]]:
    """Give (address, token) of a service of a home."""
    command = [sys.executable, "-m", "synapse_core.backend.service", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("listening on ").strip()
            yield url, (home / "service" / "token").read_text().strip()
        finally:
            process.terminate()
