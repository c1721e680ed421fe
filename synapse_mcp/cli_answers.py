"""`synapse-mcp answer`: what a run asks, shown in a shell and answered from there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synapse_core.errors import Conflict, InvalidRequest, did_you_mean
from synapse_core.events import Question
from synapse_core.home import Home
from synapse_core.runs import Run, open_questions
from synapse_mcp.asking import message_of, shown_schema
from synapse_mcp.cli_text import console, unmarked


def answer_run(home: Home, run_id: str, values: Sequence[str], declines: bool) -> None:
    """Answer the first question that a run waits with; without values it is shown.

    Raises Conflict where it asks nothing, InvalidRequest for values that do not fit.
    """
    run, question = _asked(home, run_id)
    schema = question.schema
    if declines:
        home.runs.answer(run_id, question.question_id, "decline")
    elif values or not schema.get("properties"):
        home.runs.answer(run_id, question.question_id, "accept", content_of(values, schema))
    else:
        _show(run, question)
        return
    console.print(f"{question.question_id} answered; synapse-mcp runs show {run_id}")


def content_of(values: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return {'count': 3} for ['count=3']: texts as they stand, numbers and true or false as such.

    Raises InvalidRequest for what is not KEY=VALUE, or names a field that is not asked for.
    """
    fields = schema.get("properties", {})
    content: dict[str, Any] = {}
    for pair in values:
        key, equals, value = pair.partition("=")
        if not equals or key not in fields:
            raise InvalidRequest(
                f"{pair!r} is not KEY=VALUE of a field.{did_you_mean(key, list(fields))}",
                hint=f"The fields are {', '.join(fields) or 'none'}.",
            )
        content[key] = value if fields[key].get("type") == "string" else _plain(value)
    return content


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value  # the check of the whole answer says what it should be


def _asked(home: Home, run_id: str) -> tuple[Run, Question]:
    run = home.runs.get(run_id)
    found = open_questions(run, home.runs.folder(run_id))
    if not found:
        raise Conflict(f"Run {run_id} ({run.state.value}) waits for no answer.")
    return run, found[0]


def _show(run: Run, question: Question) -> None:
    console.print(unmarked(message_of(run, question)))
    schema = shown_schema(question.schema)
    for name, field in schema["properties"].items():
        said = {key: value for key, value in field.items() if key != "title"}
        need = "" if name in schema.get("required", ()) else "  (may be left out)"
        console.print(unmarked(f"  {name}={json.dumps(said, ensure_ascii=False)}{need}"))
    console.print(f"synapse-mcp answer {run.run_id} KEY=VALUE …, or --decline")
