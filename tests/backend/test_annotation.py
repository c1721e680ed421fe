"""The contract: projects, tasks, assignments, ground truths."""

from __future__ import annotations

import pytest

from synapse_core.backend import Backend, NewDataUnit, NewTask
from synapse_core.errors import BackendConflict, BackendRejected, RecordNotFound


def test_a_project_keeps_its_configuration(backend: Backend, annotation):
    configuration = {"schema": {"bounding_box": {"classes": ["자동차"]}}, "depth": [1, 2.5, None]}

    made = backend.create_project(
        "Signs", annotation.collection.id, category="video", configuration=configuration, description="d"
    )

    assert (made.configuration, made.description, made.category) == (configuration, "d", "video")
    assert backend.get_project(made.id) == made
    assert list(backend.list_projects({"name": "Signs"})) == [made]
    with pytest.raises(RecordNotFound, match="data collection 99"):
        backend.create_project("Nowhere", 99)


def test_a_data_unit_has_one_task_in_a_project(backend: Backend, annotation):
    one, two = annotation.units("one", "two")
    (first,) = backend.create_tasks(annotation.project.id, [NewTask(data_unit=one.id, tags=("a", "b"))])

    again = backend.create_tasks(
        annotation.project.id,
        [NewTask(data_unit=two.id, data={"x": 1}), NewTask(data_unit=one.id), NewTask(data_unit=two.id)],
    )

    assert again[1] == first
    assert again[0] == again[2]
    assert (again[0].data, again[0].status, again[0].files) == ({"x": 1}, "open", two.files)
    assert first.tags == ("a", "b")
    assert list(backend.list_tasks({"project": annotation.project.id})) == [first, again[0]]
    elsewhere = backend.create_project("Signs", annotation.collection.id)
    assert backend.create_tasks(elsewhere.id, [NewTask(data_unit=one.id)])[0].id != first.id


def test_tasks_of_what_is_not_there_are_refused(backend: Backend, annotation):
    (unit,) = annotation.units("one")
    other = backend.create_data_collection("Other", list(annotation.collection.file_specifications))
    (foreign,) = backend.create_data_units(
        other.id, [NewDataUnit(key="k", files={"image": annotation.file.file})]
    )

    with pytest.raises(RecordNotFound, match="project 99"):
        backend.create_tasks(99, [NewTask(data_unit=unit.id)])
    with pytest.raises(RecordNotFound, match="data unit 999"):
        backend.create_tasks(annotation.project.id, [NewTask(data_unit=unit.id), NewTask(data_unit=999)])
    with pytest.raises(BackendRejected, match=f"data unit {foreign.id} "):
        backend.create_tasks(
            annotation.project.id, [NewTask(data_unit=unit.id), NewTask(data_unit=foreign.id)]
        )
    assert backend.list_tasks().count == 0


def test_a_unit_with_a_task_is_not_deleted(backend: Backend, annotation):
    free, busy = annotation.units("free", "busy")
    annotation.tasks("busy")

    with pytest.raises(BackendRejected, match=str(busy.id)):
        backend.delete_data_units([free.id, busy.id])

    assert backend.list_data_units().count == 2


def test_saving_changes_the_task_alone(backend: Backend, annotation):
    (task,) = annotation.tasks("one")

    saved = backend.annotate_task_data(task.id, {"action": "save", "data": {"a": [1]}})

    assert (saved.data, saved.status) == ({"a": [1]}, "open")
    assert backend.get_task(task.id) == saved
    assert backend.list_assignments().count == 0


def test_submitting_makes_one_assignment_and_changes_it_afterwards(backend: Backend, annotation):
    (task,) = annotation.tasks("one")

    assert backend.annotate_task_data(task.id, {"action": "submit", "data": {"a": 1}}).status == "submitted"
    (first,) = backend.list_assignments()
    backend.annotate_task_data(task.id, {"action": "submit", "data": {"a": 2}})
    (second,) = backend.list_assignments()

    assert (first.task, first.project, first.data_unit) == (task.id, task.project, task.data_unit)
    assert (first.data, first.status, first.files) == ({"a": 1}, "submitted", task.files)
    assert (second.id, second.data) == (first.id, {"a": 2})
    assert backend.get_assignment(first.id) == second


def test_withdrawing_takes_the_assignment_away(backend: Backend, annotation):
    (task,) = annotation.tasks("one")
    annotation.submit(task, {"a": 1})

    withdrawn = backend.annotate_task_data(task.id, {"action": "withdraw", "data": None})

    assert (withdrawn.status, withdrawn.data) == ("open", None)
    assert backend.list_assignments().count == 0
    # Once more is no mistake: a rollback may be repeated.
    assert backend.annotate_task_data(task.id, {"action": "withdraw", "data": None}) == withdrawn


def test_annotations_stay_where_none_are_given(backend: Backend, annotation):
    (task,) = annotation.tasks("one")
    backend.annotate_task_data(task.id, {"action": "save", "data": {"a": 1}})

    assert backend.annotate_task_data(task.id, {"action": "submit"}).data == {"a": 1}
    assert next(iter(backend.list_assignments())).data == {"a": 1}


@pytest.mark.parametrize("content", [{}, {"action": "explode"}, {"action": "save", "data": [1]}])
def test_annotations_that_are_none_are_refused(backend: Backend, annotation, content: dict[str, object]):
    (task,) = annotation.tasks("one")

    with pytest.raises(BackendRejected):
        backend.annotate_task_data(task.id, content)

    assert backend.get_task(task.id) == task


def test_tags_are_added_and_taken_off(backend: Backend, annotation):
    one, two = annotation.tasks("one", "two", tags=("first",))

    backend.set_tags_tasks([one.id, two.id], ["x", "y", "x"])
    backend.set_tags_tasks([one.id], ["x", "z"])
    backend.set_tags_tasks([two.id], ["first", "never there"], "remove")

    assert backend.get_task(one.id).tags == ("first", "x", "y", "z")
    assert backend.get_task(two.id).tags == ("x", "y")
    assignment = annotation.submit(one, {})
    backend.set_tags_assignments([assignment.id], ["good"])
    assert backend.get_assignment(assignment.id).tags == ("good",)
    assert backend.get_task(one.id).tags == ("first", "x", "y", "z")


def test_tags_of_what_is_not_there_change_nothing(backend: Backend, annotation):
    (task,) = annotation.tasks("one")

    with pytest.raises(RecordNotFound, match="task 99"):
        backend.set_tags_tasks([task.id, 99], ["x"])
    with pytest.raises(BackendRejected, match="add, remove"):
        backend.set_tags_tasks([task.id], ["x"], "toggle")

    assert backend.get_task(task.id).tags == ()


def test_a_list_of_tags_finds_what_carries_them_all(backend: Backend, annotation):
    one, two, three = annotation.tasks("one", "two", "three", tags=("all",))
    backend.set_tags_tasks([one.id, two.id], ["x"])
    backend.set_tags_tasks([two.id, three.id], ["y"])

    def found(tags: object) -> list[int]:
        return [task.id for task in backend.list_tasks({"tags": tags})]

    assert found("all") == [one.id, two.id, three.id]
    assert found(["x", "y"]) == [two.id]
    assert found(["x", "nothing"]) == []
    assert found([]) == [one.id, two.id, three.id]


def test_assignments_are_counted_as_older_plugins_ask(backend: Backend, annotation):
    for task in annotation.tasks("one", "two", "three"):
        annotation.submit(task, {"n": task.id})

    found, count = backend.get_assignments({"project": annotation.project.id})

    assert count == 3
    assert [assignment["data"] for assignment in found] == [
        {"n": assignment["task"]} for assignment in backend.list_assignments()
    ]


# Ground truths


def test_a_ground_truth_version_is_frozen(backend: Backend, annotation):
    task, other = annotation.tasks("one", "two")
    annotation.submit(task, {"a": "then"})

    made = backend.create_ground_truth_version("Cars", "1", project=annotation.project.id)
    annotation.submit(task, {"a": "now"})
    annotation.submit(other, {})

    (frozen,) = backend.list_ground_truths({"ground_truth_version": made.id})
    assert (frozen.data, frozen.category, frozen.data_unit) == ({"a": "then"}, "", task.data_unit)
    assert frozen.files == task.files
    assert made.counts == {"": 1}
    assert backend.get_ground_truth_version(made.id) == made
    assert list(backend.list_ground_truth_versions({"dataset": "Cars"})) == [made]


def test_splits_say_what_is_in_a_version(backend: Backend, annotation):
    tasks = annotation.tasks("a", "b", "c", "d")
    ids = [annotation.submit(task, {"n": number}).id for number, task in enumerate(tasks)]

    made = backend.create_ground_truth_version(
        "Cars",
        "1",
        project=annotation.project.id,
        splits={"train": [ids[2], ids[0]], "validation": [ids[1]], "test": []},
    )

    assert made.counts == {"train": 2, "validation": 1, "test": 0}
    train = backend.list_ground_truths({"ground_truth_version": made.id, "category": "train"})
    assert [item.data for item in train] == [{"n": 0}, {"n": 2}]
    assert backend.list_ground_truths({"ground_truth_version": made.id}).count == 3


def test_splits_that_cannot_be_are_refused(backend: Backend, annotation):
    task, foreign_task = annotation.tasks("a", "b")
    one = annotation.submit(task, {}).id
    other = backend.create_project("Other", annotation.collection.id)
    (far,) = backend.create_tasks(other.id, [NewTask(data_unit=foreign_task.data_unit)])
    foreign = annotation.submit(far, {}).id

    def freeze(splits: dict[str, list[int]]) -> object:
        return backend.create_ground_truth_version("Cars", "1", project=annotation.project.id, splits=splits)

    with pytest.raises(BackendRejected, match="train, validation, test"):
        freeze({"training": [one]})
    with pytest.raises(BackendRejected, match="twice"):
        freeze({"train": [one], "test": [one]})
    with pytest.raises(BackendRejected, match=f"assignment {foreign} "):
        freeze({"train": [one, foreign]})
    with pytest.raises(RecordNotFound, match="assignment 999"):
        freeze({"train": [999]})
    assert backend.list_ground_truth_versions().count == 0
    assert backend.list_ground_truths().count == 0


def test_a_version_is_made_once(backend: Backend, annotation):
    backend.create_ground_truth_version("Cars", "1", project=annotation.project.id)

    with pytest.raises(BackendConflict, match="'1'"):
        backend.create_ground_truth_version("Cars", "1", project=annotation.project.id)
    with pytest.raises(RecordNotFound, match="project 99"):
        backend.create_ground_truth_version("Cars", "2", project=99)
    assert backend.list_ground_truth_versions().count == 1
