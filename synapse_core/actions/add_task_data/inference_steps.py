"""The first steps of the method inference: the model, its predictions, and annotations made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synapse_core.actions.add_task_data.context import AddTaskDataContext, Outcome, outcome_of
from synapse_core.actions.add_task_data.file_steps import checked, select_tasks, tasks_of
from synapse_core.actions.item_failures import is_fatal
from synapse_core.actions.pace import Pace
from synapse_core.actions.workflow import BuiltInStep
from synapse_core.backend import Task
from synapse_core.errors import ExecutionError, InvalidRequest, RecordNotFound
from synapse_core.steps import StepResult


class LoadModelStep(BuiltInStep[AddTaskDataContext]):
    """Fetches the model, and finds the tasks."""

    step_name = "load_model"
    weight = 0.10

    def execute(self, context: AddTaskDataContext) -> StepResult:
        params = context.params
        if params.pre_processor is not None:
            raise InvalidRequest(
                "pre_processor is given, and deployed pre-processors cannot be called yet.",
                hint="Leave it out, give model_id, and define infer(self, model, inputs) in the action.",
            )
        if params.model_id is None:
            raise InvalidRequest("model_id is missing.", hint="Say which model predicts.")
        select_tasks(context)
        context.model = context.action.load_model(params.model_id)
        return StepResult(data={"model": params.model_id, "total_tasks": context.total_tasks})

    def rollback(self, context: AddTaskDataContext, result: StepResult) -> None:
        context.model = None


class RunInferenceStep(BuiltInStep[AddTaskDataContext]):
    """Has the action predict, `batch_size` tasks at once; a batch that fails is tried task by task."""

    step_name = "run_inference"
    weight = 0.50

    def can_skip(self, context: AddTaskDataContext) -> bool:
        return context.total_tasks == 0

    def execute(self, context: AddTaskDataContext) -> StepResult:
        spool = context.inference_results = context.new_spool("inference_results")
        pace = Pace()
        for batch in _batches(iter(tasks_of(context)), context.params.batch_size):
            context.runtime_ctx.raise_if_stopped()
            for outcome in _predicted(context, batch):
                spool.add(outcome)
            if pace.is_due(len(spool), context.total_tasks):
                context.set_progress(len(spool), max(len(spool), context.total_tasks))
        return StepResult(data={"predicted": len(spool)})

    def rollback(self, context: AddTaskDataContext, result: StepResult) -> None:
        context.inference_results = None


class FormatResultsStep(BuiltInStep[AddTaskDataContext]):
    """Makes annotations of the predictions."""

    step_name = "format_results"
    weight = 0.10

    def can_skip(self, context: AddTaskDataContext) -> bool:
        return context.total_tasks == 0

    def execute(self, context: AddTaskDataContext) -> StepResult:
        results = context.inference_results
        if results is None:
            raise ExecutionError("There are no predictions: the step 'run_inference' is missing.")
        spool = context.task_annotations = context.new_spool("task_annotations")
        convert = context.action.convert_data_from_inference
        for result in results:
            context.runtime_ctx.raise_if_stopped()
            if result.error is None:
                result = outcome_of(
                    result.task_id,
                    result.task_data,
                    lambda done=result: checked(convert(done.value, task_data=done.task_data)),  # type: ignore[misc]
                )
            spool.add(result)
        return StepResult(data={"formatted": len(spool)})

    def rollback(self, context: AddTaskDataContext, result: StepResult) -> None:
        context.task_annotations = None


def _batches(tasks: Iterator[tuple[int, Task | None]], size: int) -> Iterator[list[tuple[int, Task | None]]]:
    batch = []
    for entry in tasks:
        batch.append(entry)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _predicted(context: AddTaskDataContext, batch: list[tuple[int, Task | None]]) -> list[Outcome]:
    """Return an outcome for each task of a batch, in their order."""
    outcomes: dict[int, Outcome] = {}
    with tempfile.TemporaryDirectory(dir=context.work_folder) as work:
        inputs: dict[int, Any] = {}
        for task_id, task in batch:
            if task is None:
                outcomes[task_id] = Outcome(task_id, error=str(RecordNotFound("task", task_id)))
                continue
            made = outcome_of(task_id, task.data, lambda task=task: _input(context, task, Path(work)))  # type: ignore[misc]
            if made.error is None:
                inputs[task_id] = made.value
            else:
                outcomes[task_id] = made
        held = {task_id: task.data for task_id, task in batch if task is not None}
        predictions = _infer(context, inputs)
        for task_id in inputs:
            if predictions is not None:
                outcomes[task_id] = Outcome(task_id, predictions[task_id], None, held[task_id])
            else:
                outcomes[task_id] = outcome_of(
                    task_id,
                    held[task_id],
                    lambda task_id=task_id: _infer_all(context, [inputs[task_id]])[0],  # type: ignore[misc]
                )
    return [outcomes[task_id] for task_id, _ in batch]


def _infer(context: AddTaskDataContext, inputs: dict[int, Any]) -> dict[int, Any] | None:
    """Return the predictions of a batch, None where each task is to be tried by itself."""
    if len(inputs) < 2:
        return None if inputs else {}
    try:
        return dict(zip(inputs, _infer_all(context, list(inputs.values())), strict=True))
    except Exception as error:  # the plugin's own code; one task of the batch may be at fault
        if is_fatal(error):
            raise
        return None


def _infer_all(context: AddTaskDataContext, inputs: list[Any]) -> list[Any]:
    found = list(context.action.infer(context.model, inputs))
    if len(found) != len(inputs):
        raise ExecutionError(
            f"infer() returned {len(found)} predictions for {len(inputs)} inputs.",
            hint="Return one for each input, in their order.",
        )
    return found


def _input(context: AddTaskDataContext, task: Task, work: Path) -> dict[str, Any]:
    """Return what the model is given for a task."""
    action, params, tasks = context.action, context.params, tasks_of(context)
    primary = tasks.primary_file(task)
    folder = work / str(task.id)
    folder.mkdir()
    path = tasks.fetch(primary, folder)
    data_files = {name: file for name, file in task.files.items() if file is not primary}
    more = action.setup_inference_params(
        str(path),
        primary.name,
        data_files,
        model_id=params.model_id,
        pre_processor_params=params.pre_processor_params,
        pre_processor_config={},
        task_data=task.data,
    )
    return {
        "task_id": task.id,
        "path": str(path),
        "file_name": primary.name,
        "data_files": data_files,
        "task_data": task.data,
        **params.pre_processor_params,
        **more,
    }
