"""The contract: what a filter finds, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synapse_core.backend import Backend
from synapse_core.errors import BackendRejected, RecordNotFound

LISTS = (
    "list_storages",
    "list_data_collections",
    "list_data_units",
    "list_projects",
    "list_tasks",
    "list_assignments",
    "list_ground_truth_versions",
    "list_ground_truths",
    "list_models",
    "list_plugin_releases",
    "list_serve_applications",
    "list_jobs",
)
GETS = (
    "get_storage",
    "get_data_collection",
    "get_data_unit",
    "get_project",
    "get_task",
    "get_assignment",
    "get_ground_truth_version",
    "get_model",
    "get_plugin_release",
)


def test_a_thousand_records_come_in_pages_each_once(backend: Backend, annotation):
    units = annotation.units(*(f"unit {number}" for number in range(1030)))

    found = backend.list_data_units({"data_collection": annotation.collection.id})

    assert (found.count, len(found)) == (1030, 1030)
    ids = [unit.id for unit in found]
    assert ids == sorted(unit.id for unit in units)
    # Reading again asks again, and what comes in between is seen.
    annotation.units("late")
    assert len(list(found)) == 1031
    rest = backend.list_data_units(after=ids[999])
    assert rest.count == 31
    assert [unit.id for unit in rest][:30] == ids[1000:]
    assert backend.list_data_units(after=ids[-1] + 10).count == 0


def test_what_is_deleted_while_it_is_read_leaves_no_gap(backend: Backend, annotation):
    units = annotation.units(*(f"unit {number}" for number in range(250)))
    reading = iter(backend.list_data_units())
    first = [next(reading).id for _ in range(100)]

    backend.delete_data_units(first)

    assert [unit.id for unit in reading] == [unit.id for unit in units[100:]]


def test_filters_hold_together_and_take_lists(backend: Backend, annotation):
    one, two, three = annotation.tasks("one", "two", "three")
    annotation.submit(two, {})

    def found(**filters: Any) -> list[int]:
        return [task.id for task in backend.list_tasks(filters)]

    assert found(status="submitted") == [two.id]
    assert found(status=["open", "submitted"]) == [one.id, two.id, three.id]
    assert found(id=[one.id, two.id], status="open") == [one.id]
    assert found(id=[]) == []
    assert found(id=[2**70]) == []
    assert found(data_unit=one.data_unit, project=annotation.project.id + 1) == []
    assert found(status="a' OR 1=1 --") == []


def test_a_filter_that_is_not_known_names_those_that_are(backend: Backend):
    for name in LISTS:
        ask: Callable[..., Any] = getattr(backend, name)
        assert list(ask()) == list(ask({})) == []

        with pytest.raises(BackendRejected) as caught:
            list(ask({"idd": 1}))

        assert "'idd'" in caught.value.message
        assert "id," in caught.value.message
        for known in caught.value.details["known"]:
            assert list(ask({known: []})) == []


def test_a_value_that_a_field_cannot_have_is_refused(backend: Backend):
    for value in ("one", 1.5, {"a": 1}, True, "1; DROP TABLE tasks"):
        with pytest.raises(BackendRejected, match="'id'"):
            backend.list_tasks({"id": value})
    for after in (-1, 2**70):
        with pytest.raises(BackendRejected, match="after"):
            backend.list_tasks(after=after)


def test_an_id_that_is_not_there_is_not_found(backend: Backend):
    for name in GETS:
        for record_id in (0, -1, 7, 2**40, 2**80):
            with pytest.raises(RecordNotFound, match=f" '?{record_id}'?"):
                getattr(backend, name)(record_id)
