"""Answering what runs ask: which questions are open, and whether an answer fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from synapse_core.answers import Answers, Choice, answer_now
from synapse_core.errors import Conflict, InvalidRequest
from synapse_core.events import Question
from synapse_core.forms import form_model
from synapse_core.params import problems_of
from synapse_core.run_folder import RunFolder
from synapse_core.runs.run import Run


def open_questions(run: Run, folder: RunFolder) -> tuple[Question, ...]:
    """Return what the run asks and nobody has answered yet, in the order in which it was asked."""
    answers = Answers(folder.path)
    return tuple(question for question in run.questions if not answers.has(question.question_id))


def put_answer(
    run: Run, folder: RunFolder, question_id: str, action: Choice, content: Mapping[str, Any] | None
) -> None:
    """Leave an answer for a run; see `Runs.answer`."""
    found = {question.question_id: question for question in open_questions(run, folder)}
    if question_id not in found:
        raise _nothing_asked(run, question_id, list(found))
    fitting = _fitting(found[question_id], content or {}) if action == "accept" else None
    if not Answers(folder.path).put(question_id, answer_now(action, fitting)):
        raise _nothing_asked(run, question_id, [])


def _nothing_asked(run: Run, question_id: str, open_ids: list[str]) -> Conflict:
    now = f"it waits for {', '.join(open_ids)}" if open_ids else "it waits for no answer"
    if run.is_done:
        now = f"it has ended ({run.state.value})"
    return Conflict(
        f"Run {run.run_id} does not wait for an answer to {question_id!r}: {now}. Nothing was answered.",
        {"run_id": run.run_id, "open": open_ids},
        hint=f'get_run(run_id="{run.run_id}") shows what it waits for now.',
    )


def _fitting(question: Question, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the form knows of an answer. Raises InvalidRequest that names every problem."""
    fields = question.schema.get("properties", {})
    # A field that was left empty is one that was left out.
    known = {name: value for name, value in content.items() if name in fields and value is not None}
    model = form_model(question.schema)
    try:
        model.model_validate(known)
    except pydantic.ValidationError as error:
        # What was sent may be secret, and is not repeated.
        problems = {each["path"]: each["message"] for each in problems_of(error, model)}
        lines = "\n".join(f"- {path}: {message}" for path, message in problems.items())
        raise InvalidRequest(
            f"The answer to {question.question_id} does not fit:\n{lines}",
            {"problems": [{"path": path, "message": message} for path, message in problems.items()]},
            hint="Correct it and answer again; the run still waits.",
        ) from None
    return known
