"""The first steps of the method file: the file, the annotations in it, and what each task gets of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from synapse_core.actions.add_task_data.annotations import (
    AnnotationsOfTasks,
    check_file,
    read_annotations,
)
from synapse_core.actions.add_task_data.context import AddTaskDataContext, Outcome, outcome_of
from synapse_core.actions.add_task_data.tasks import Tasks
from synapse_core.actions.pace import Pace
from synapse_core.actions.workflow import BuiltInStep
from synapse_core.backend import Task
from synapse_core.errors import ExecutionError, InvalidRequest, RecordNotFound
from synapse_core.steps import StepResult


class ValidateFileStep(BuiltInStep[AddTaskDataContext]):
    """Looks whether there is something to read annotations from, and tasks to put them on."""

    step_name = "validate_file"
    weight = 0.05

    def execute(self, context: AddTaskDataContext) -> StepResult:
        params = context.params
        if params.file_path is not None:
            check_file(Path(params.file_path).expanduser())
        elif params.target_specification_name is None:
            raise InvalidRequest(
                "Neither file_path nor target_specification_name is given.",
                hint="Say where the annotations are.",
            )
        select_tasks(context)
        return StepResult(data={"total_tasks": context.total_tasks})


class LoadAnnotationsStep(BuiltInStep[AddTaskDataContext]):
    """Reads the annotations of the file; those of the tasks' own files are read one by one later."""

    step_name = "load_annotations"
    weight = 0.15

    def execute(self, context: AddTaskDataContext) -> StepResult:
        params = context.params
        if params.file_path is not None:
            path = Path(params.file_path).expanduser().absolute()
            context.annotations = read_annotations(path, context.work_folder)
        else:
            context.annotations = AnnotationsOfTasks(tasks_of(context), params.target_specification_name)
        return StepResult()

    def rollback(self, context: AddTaskDataContext, result: StepResult) -> None:
        context.annotations = None


class ProcessTasksStep(BuiltInStep[AddTaskDataContext]):
    """Finds each task's annotations, has them converted, and checks that they can be put on it."""

    step_name = "process_tasks"
    weight = 0.40

    def can_skip(self, context: AddTaskDataContext) -> bool:
        return context.total_tasks == 0

    def execute(self, context: AddTaskDataContext) -> StepResult:
        spool = context.task_annotations = context.new_spool("task_annotations")
        pace = Pace()
        for task_id, task in tasks_of(context):
            context.runtime_ctx.raise_if_stopped()
            spool.add(_processed(context, task_id, task))
            if pace.is_due(len(spool), context.total_tasks):
                context.set_progress(len(spool), max(len(spool), context.total_tasks))
        return StepResult(data={"processed": len(spool)})

    def rollback(self, context: AddTaskDataContext, result: StepResult) -> None:
        context.task_annotations = None


def select_tasks(context: AddTaskDataContext) -> None:
    """Find the tasks. Raises InvalidRequest where none are asked for."""
    context.tasks = Tasks(context.action.client, context.params, context.action.create_patience())
    context.total_tasks = len(context.tasks)
    context.log_message(f"{context.total_tasks:,} tasks are to be annotated.")


def tasks_of(context: AddTaskDataContext) -> Tasks:
    """Return the tasks. Raises ExecutionError where the step that finds them was taken out."""
    if context.tasks is None:
        raise ExecutionError(
            "No tasks were selected: the first step is missing.",
            hint="Keep it, or set `tasks` and `total_tasks` of the context in a step of your own.",
        )
    return context.tasks


def _processed(context: AddTaskDataContext, task_id: int, task: Task | None) -> Outcome:
    if task is None:
        return Outcome(task_id, error=str(RecordNotFound("task", task_id)))
    with tempfile.TemporaryDirectory(dir=context.work_folder) as folder:
        return outcome_of(task_id, task.data, lambda: _annotations_of(context, task, Path(folder)))


def _annotations_of(context: AddTaskDataContext, task: Task, folder: Path) -> dict[str, Any]:
    if context.annotations is None:
        raise ExecutionError("There are no annotations: the step 'load_annotations' is missing.")
    action, tasks = context.action, tasks_of(context)
    path = context.annotations.find(task, folder)
    primary_url, primary_name = "", ""
    if task.files:
        primary = tasks.primary_file(task)
        primary_name = primary.name
        if action.wants_primary_file():
            (folder / "primary").mkdir()
            primary_url = str(tasks.fetch(primary, folder / "primary"))
    made = action.convert_data_from_file(primary_url, primary_name, str(path), path.name, task_data=task.data)
    return checked(made)


def checked(made: Any) -> dict[str, Any]:
    """Return annotations that can be put on a task. Raises InvalidRequest for anything else."""
    if not isinstance(made, dict) or not all(isinstance(key, str) for key in made):
        raise InvalidRequest(f"The annotations are a {type(made).__name__}, not a document: a dict.")
    return made
