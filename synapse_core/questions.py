"""Asking the user while an action runs: the question goes out as an event, the answer comes as a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import pydantic

from synapse_core.answers import Answer, Answers, Choice
from synapse_core.errors import CannotAsk
from synapse_core.events import Answered, AnyEvent, Question
from synapse_core.forms import form_schema
from synapse_core.run_folder import RunFolder
from synapse_core.stop import StopSignal

Model = TypeVar("Model", bound=pydantic.BaseModel)

_MOST_MESSAGE_CHARS = 2_000
# A person answers: this much later is soon.
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Elicited(Generic[Model]):
    """What the user said. data: what was filled in where action is accept, else None.

    decline: the user said no. cancel: the user closed the question, or the run is to stop.
    """

    action: Choice
    data: Model | None = None


class Asking:
    """The questions of one run; an action may ask several at a time, from threads of its own.

    emit: takes the events. next_id: gives each question its id.
    """

    def __init__(
        self,
        folder: Path | None,
        stop: StopSignal,
        emit: Callable[[AnyEvent], None],
        next_id: Callable[[], str],
    ) -> None:
        if folder is None or RunFolder(folder).request() is None:
            raise CannotAsk(
                "There is nobody to ask: the action is not executed as a recorded run.",
                hint="Run it with run_action or `synapse-mcp run`.",
            )
        self._answers = Answers(folder)
        self._stop = stop
        self._emit = emit
        self._next_id = next_id

    def ask(self, message: str, model: type[Model]) -> Elicited[Model]:
        """Ask until the answer fits the model. Raises CannotAsk for a model that is no flat form."""
        schema = form_schema(model)
        asked = message = message[:_MOST_MESSAGE_CHARS]
        while True:
            question_id = self._next_id()
            self._emit(Question(question_id=question_id, message=asked, schema=schema))
            answer = self._awaited(question_id)
            if answer is None:
                return Elicited("cancel")
            self._emit(Answered(question_id=question_id, choice=answer.action))
            if answer.action != "accept":
                return Elicited(answer.action)
            try:
                # As JSON, where a choice is a text also for a strict model.
                content = msgspec.json.encode(answer.content or {})
                return Elicited("accept", model.model_validate_json(content))
            except pydantic.ValidationError as error:
                asked = f"{message}\n{_problems(error)}"

    def _awaited(self, question_id: str) -> Answer | None:
        """Return the answer when it is there, None where the run is stopping and nothing can be raised here.

        Raises RunStopped as any report does.
        """
        while (answer := self._answers.take(question_id)) is None:
            self._stop.raise_if_requested()
            if self._stop.is_requested:  # in a thread of the action's own, or while it undoes its work
                return None
            time.sleep(_LOOK_SECONDS)
        return answer


def _problems(error: pydantic.ValidationError) -> str:
    """Return what is wrong with an answer, without repeating it: it may be secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = (f"{'.'.join(map(str, each['loc'])) or 'answer'}: {each['msg']}" for each in found[:5])
    return f"The answer does not fit. {'; '.join(lines)[:500]}"
