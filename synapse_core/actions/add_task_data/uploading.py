"""The last step of both methods: the annotations are put on the tasks, or every task is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from synapse_core.actions.add_task_data.context import (
    MOST_FAILURES_TOLD,
    AddTaskDataContext,
    Outcome,
    outcome_of,
)
from synapse_core.actions.item_failures import is_away
from synapse_core.actions.results import Patience
from synapse_core.actions.workflow import BuiltInStep
from synapse_core.errors import ExecutionError, SynapseError
from synapse_core.steps import StepResult

if TYPE_CHECKING:
    from synapse_core.backend import Backend, Task


class Earlier(msgspec.Struct, frozen=True):
    """What a task was. assignment: [data, status] of the assignment that it had, None without one."""

    task_id: int
    status: str
    data: dict[str, Any] | None
    assignment: tuple[dict[str, Any] | None, str] | None = None


class UploadAnnotationsStep(BuiltInStep[AddTaskDataContext]):
    """Puts the annotations on the tasks, one by one; one that fails does not stop the others.

    Fails where none succeeded and some failed, and where the backend stays away. Rollback gives every task
    back what it held before; what could not be undone stands in the context's errors.
    """

    step_name = "upload_annotations"
    weight = 0.30

    def can_skip(self, context: AddTaskDataContext) -> bool:
        return context.total_tasks == 0

    def execute(self, context: AddTaskDataContext) -> StepResult:
        outcomes = context.task_annotations
        if outcomes is None:
            raise ExecutionError("There are no annotations to upload: the step before this one is missing.")
        context.earlier = context.new_spool("earlier")
        patience = context.action.create_patience()
        total = len(outcomes)
        for index, outcome in enumerate(outcomes, start=1):
            context.runtime_ctx.raise_if_stopped()
            if outcome.error is None:
                outcome = _upload(context, outcome, patience)
            _note(context, outcome, index, total)
        if context.failed_count and not context.success_count:
            raise ExecutionError(
                f"None of the {total:,} tasks could be annotated. The first: {context.failures[0]['error']}",
                {"failures": context.failures[:20]},
                hint="Look at the reasons in the details; no task was changed.",
            )
        return StepResult(data={"success": context.success_count, "failed": context.failed_count})

    def rollback(self, context: AddTaskDataContext, result: StepResult) -> None:
        client: Backend = context.action.client
        patience = context.action.create_patience()
        left: list[int] = []
        for earlier in context.earlier or ():
            if left:
                left.append(earlier.task_id)  # the backend is away: do not wait for it with each task
                continue
            try:
                restored = patience.call(lambda earlier=earlier: _restore(client, earlier))
            except SynapseError as error:
                if is_away(error):
                    left.append(earlier.task_id)
                    continue
                context.errors.append(f"Task {earlier.task_id} keeps its new annotations: {error}")
            else:
                if restored.status != earlier.status:
                    context.errors.append(
                        f"Task {earlier.task_id} has the status {restored.status}; it was {earlier.status}."
                    )
        if left:
            told = ", ".join(map(str, left[:100]))
            context.errors.append(
                f"The backend is away; {len(left):,} tasks may keep their new annotations: {told}."
            )
        context.earlier = None
        context.success_count = context.failed_count = 0
        context.failures = []


def _upload(context: AddTaskDataContext, outcome: Outcome, patience: Patience) -> Outcome:
    client: Backend = context.action.client
    content = {"action": "submit" if context.params.submit else "save", "data": outcome.value}

    def upload() -> None:
        # Written down before it is done: whatever happens between the two is taken back as well.
        earlier = patience.call(lambda: _earlier(client, outcome.task_id))
        if context.earlier is not None:
            context.earlier.add(earlier)
        patience.call(lambda: client.annotate_task_data(outcome.task_id, content))

    return outcome_of(outcome.task_id, None, upload)


def _earlier(client: Backend, task_id: int) -> Earlier:
    task = client.get_task(task_id)
    assignment = next(iter(client.list_assignments({"task": task_id})), None)
    held = None if assignment is None else (assignment.data, assignment.status)
    return Earlier(task_id, task.status, task.data, held)


def _restore(client: Backend, earlier: Earlier) -> Task:
    """Give a task back what it held, and its assignment what that held. Can be repeated."""
    current = client.get_task(earlier.task_id)
    assignment = next(iter(client.list_assignments({"task": earlier.task_id})), None)
    if earlier.assignment is None and assignment is not None:
        return client.annotate_task_data(earlier.task_id, {"action": "withdraw", "data": earlier.data})
    if earlier.assignment is not None and assignment is not None and assignment.data != earlier.assignment[0]:
        current = client.annotate_task_data(
            earlier.task_id, {"action": "submit", "data": earlier.assignment[0]}
        )
    if current.data != earlier.data:
        current = client.annotate_task_data(earlier.task_id, {"action": "save", "data": earlier.data})
    return current


def _note(context: AddTaskDataContext, outcome: Outcome, index: int, total: int) -> None:
    """Count what became of a task, and tell it."""
    is_well = outcome.error is None
    if is_well:
        context.success_count += 1
    else:
        context.failed_count += 1
        if len(context.failures) < MOST_FAILURES_TOLD:
            context.failures.append({"task_id": outcome.task_id, "error": outcome.error})
    context.log(
        context.action.progress.ANNOTATE_TASK_DATA,
        {
            "task_info": {"task_id": outcome.task_id},
            "status": "success" if is_well else "failed",
            "method": str(context.params.method),
            "index": index,
            "total": total,
            "created": is_well and context.params.submit,
            "error": outcome.error,
        },
    )
    context.action._update_progress(index, total, context.success_count, context.failed_count)
