"""The contract under many callers: what must be once is once, whoever is first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from synapse_core.backend import Backend, NewDataUnit, NewTask
from synapse_core.errors import BackendConflict

T = TypeVar("T")
CALLERS = 10


def at_once(work: Callable[[int], T], callers: int = CALLERS) -> list[T]:
    """Return what `work` gives for 0 .. callers - 1, all begun at the same moment."""
    together = threading.Barrier(callers)

    def one(number: int) -> T:
        together.wait(30)
        return work(number)

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


def test_a_key_is_made_once_however_many_make_it(backend: Backend, annotation):
    keys = [f"unit {number}" for number in range(40)]

    def make(number: int) -> dict[str, int]:
        # Each in another order, which is how two transactions come to wait for each other.
        mine = keys[number:] + keys[:number]
        new = [NewDataUnit(key=key, files={"image": annotation.file.file}, groups=("g",)) for key in mine]
        return {unit.key: unit.id for unit in backend.create_data_units(annotation.collection.id, new)}

    first, *others = at_once(make)

    assert all(found == first for found in others)
    assert backend.list_data_units().count == len(keys)
    assert {unit.groups for unit in backend.list_data_units()} == {("g",)}


def test_a_task_a_job_and_a_file_are_made_once(backend: Backend, annotation, tmp_path: Path):
    (unit,) = annotation.units("one")
    (tmp_path / "new.png").write_bytes(b"new")

    def make(number: int) -> tuple[Any, ...]:
        (task,) = backend.create_tasks(annotation.project.id, [NewTask(data_unit=unit.id)])
        backend.annotate_task_data(task.id, {"action": "submit", "data": {"n": number}})
        backend.set_tags_tasks([task.id], ["a", "b"])
        file = backend.create_data_file(tmp_path / "new.png")
        return task.id, file, backend.create_job("run-1").created

    assert len(set(map(repr, at_once(make)))) == 1

    assert (backend.list_tasks().count, backend.list_assignments().count, backend.list_jobs().count) == (
        1,
        1,
        1,
    )
    assert next(iter(backend.list_tasks())).tags == ("a", "b")


def test_the_default_storage_is_made_once(backend: Backend, tmp_path: Path):
    for number in range(CALLERS):
        (tmp_path / f"{number}.png").write_bytes(str(number).encode())

    files = at_once(lambda number: backend.create_data_file(tmp_path / f"{number}.png"))

    assert len({file.file.storage for file in files}) == 1
    assert backend.list_storages().count == 1


def test_each_version_of_a_model_is_given_once(backend: Backend, tmp_path: Path):
    def make(number: int) -> str:
        path = tmp_path / f"{number}.pt"
        path.write_bytes(str(number).encode())
        return backend.create_model("detector", path).version

    assert sorted(map(int, at_once(make))) == list(range(1, CALLERS + 1))
    assert backend.list_models().count == CALLERS


def test_one_of_many_publishes_a_version(backend: Backend, tmp_path: Path):
    def publish(number: int) -> str:
        path = tmp_path / f"{number}.zip"
        path.write_bytes(str(number % 2).encode())
        try:
            return backend.create_plugin_release("yolo", "1", path, config={}).checksum
        except BackendConflict:
            return "conflict"

    told = at_once(publish)

    (release,) = backend.list_plugin_releases()
    assert told.count(release.checksum) == told.count("conflict") == CALLERS // 2


def test_a_model_has_its_file_while_others_delete_the_same_content(backend: Backend, tmp_path: Path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")

    def use(number: int) -> None:
        for turn in range(4):
            made = backend.create_model(f"model {number}", path, version=str(turn))
            target = backend.download_file(made.file, tmp_path / f"{number}.back")
            assert target.read_bytes() == b"weights"
            backend.delete_model(made.id)

    at_once(use, 4)

    assert backend.list_models().count == 0
    assert [name for name, _ in backend.open_storage().list("models")] == []
