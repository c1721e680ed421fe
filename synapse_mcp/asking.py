"""Putting to the user what a run asks: by elicitation where the client can, else by a command in a shell.

A tool that may ask takes what `pending_question` and `put_question` fill in, and calls `take_answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, ElicitationResult
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.types import ClientCapabilities

from synapse_core.errors import Conflict, SynapseError
from synapse_core.events import Question
from synapse_core.home import Home
from synapse_core.plain_text import plain
from synapse_core.runs import Run, open_questions
from synapse_mcp.app import App
from synapse_mcp.confirmation import shows_forms
from synapse_mcp.lookup import app_of
from synapse_mcp.masking import masked, masked_data
from synapse_mcp.principals import current_principal

_LINE_END = "\n"


class Form(pydantic.RootModel[dict[str, Any]]):
    """What was filled in; the core knows whether it fits."""


class NotAsked(Form):
    """There is nothing to ask, or nobody who could."""

    root: dict[str, Any] = {}


@dataclass(frozen=True)
class Pending:
    """The question that a run waits with."""

    run: Run
    question: Question


def may_answer(app: App) -> bool:
    """Tell whether the caller's server and token let answers through: they make a run go on."""
    principal = current_principal()
    return not app.settings.read_only and (principal is None or principal.may("run"))


def can_ask(app: App, capabilities: ClientCapabilities | None) -> bool:
    """Tell whether the user behind a client can be asked, and the caller may answer for them."""
    return shows_forms(capabilities) and may_answer(app)


def asks(context: Context[App, Any]) -> bool:
    """As `can_ask`, in a tool."""
    return can_ask(app_of(context), context.client_capabilities)


def request_for(run: Run, question: Question) -> dict[str, Any]:
    """Return the request of the protocol that puts a question, the same for the same question."""
    params = {
        "mode": "form",
        "message": message_of(run, question),
        "requestedSchema": shown_schema(question.schema),
    }
    return {"method": "elicitation/create", "params": params}


def message_of(run: Run, question: Question) -> str:
    """Return what the user reads: who asks, and in quotes, line by line, the words of the plugin."""
    words = plain(masked(question.message)).split(_LINE_END)
    head = f"{run.plugin}/{run.action}, run {run.run_id}, asks ({question.question_id}; the plugin's words):"
    return _LINE_END.join([head, *(f"> {line}" for line in words)])


def shown_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a form as it may be shown."""
    fields = {
        name: {key: plain(told) if key in ("title", "description") else told for key, told in field.items()}
        for name, field in schema.get("properties", {}).items()
    }
    shown: dict[str, Any] = masked_data({**schema, "properties": fields})
    return shown


async def pending_question(context: Context[App, Any], run_id: str) -> Pending | None:
    """Return what is to be asked, None where there is nothing, or nobody to ask."""
    if not asks(context):
        return None

    def look(home: Home) -> Pending | None:
        run = home.runs.get(run_id)
        found = open_questions(run, home.runs.folder(run_id))
        return Pending(run, found[0]) if found else None

    try:
        return await app_of(context).call(look)
    except SynapseError:  # the tool itself tells it
        return None


async def put_question(
    pending: Annotated[Pending | None, Resolve(pending_question)],
) -> Elicit[Form] | Form:
    """Return the question; that of another id is another one, whose answer does not count for this."""
    if pending is None:
        return NotAsked()
    schema = shown_schema(pending.question.schema)

    class Shown(Form):
        @classmethod
        def model_json_schema(cls, *_arguments: Any, **_named: Any) -> dict[str, Any]:
            return schema

    return Elicit(message_of(pending.run, pending.question), Shown)


async def take_answer(
    context: Context[App, Any], pending: Pending | None, said: ElicitationResult[Form]
) -> None:
    """Hand the run what the user said. Raises InvalidRequest where that does not fit."""
    if pending is None:
        return
    run_id, question_id = pending.run.run_id, pending.question.question_id

    def put(home: Home) -> None:
        if isinstance(said, AcceptedElicitation):
            home.runs.answer(run_id, question_id, "accept", said.data.root)
        else:
            is_closed = isinstance(said, CancelledElicitation)
            home.runs.answer(run_id, question_id, "cancel" if is_closed else "decline")

    try:
        await app_of(context).call(put)
    except Conflict:
        return  # somebody was faster, or the run is over: the record tells
