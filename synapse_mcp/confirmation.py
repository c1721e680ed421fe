"""Asking before something is lost: the user where the client can ask, else by a word from a preview.

A tool that destroys takes an `Answer`, which `question` fills, and lets `agreed` decide.
"""

from __future__ import annotations

import hashlib
from typing import Any

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, ElicitationResult
from mcp.server.mcpserver import Context, Elicit
from mcp.types import ClientCapabilities
from pydantic import BaseModel, Field

from synapse_core.errors import Conflict
from synapse_mcp.app import App
from synapse_mcp.lookup import app_of


class Answer(BaseModel):
    """What the user is asked for."""

    confirm: bool = Field(description="Do it; it cannot be undone")


class NotAsked(Answer):
    """The client cannot ask its user, or is not to."""

    confirm: bool = False


class Refused(Exception):
    """The user was asked and did not agree. said: what is to be answered."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


def setting_of(context: Context[App, Any]) -> str:
    """Return how this server asks: auto, token or off."""
    return app_of(context).settings.confirm


def can_ask(context: Context[App, Any]) -> bool:
    """Tell whether the user behind the client is to be asked and can be."""
    return setting_of(context) == "auto" and shows_forms(context.client_capabilities)


def shows_forms(capabilities: ClientCapabilities | None) -> bool:
    """Tell whether a client puts forms to its user; one that names no kind of question means these."""
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def question(context: Context[App, Any], text: str | None) -> Elicit[Answer] | Answer:
    """Return the question where it can be asked. text: None where there is nothing to ask about.

    It has to be the same for the same facts: a client of the newer protocol repeats the call with the answer,
    and an answer to another question does not count.
    """
    if text is None or not can_ask(context):
        return NotAsked()
    return Elicit(text, Answer)


def agreed(
    context: Context[App, Any], answer: ElicitationResult[Answer], confirm: str | None, mark: str, what: str
) -> bool:
    """Return True where it is to be done, False where the word for it has to be shown first.

    mark: the word; it stands for the facts as they are now. what: for the texts, such as "Deployment 'x'".
    Raises Refused where the user did not agree, and Conflict for a word that stands for other facts.
    """
    if setting_of(context) == "off":
        return True
    if not isinstance(answer, AcceptedElicitation):
        how = (
            "closed the question without an answer"
            if isinstance(answer, CancelledElicitation)
            else "declined"
        )
        raise Refused(f"The user {how}; nothing was done. Do not ask again unless the user wants it.")
    if not isinstance(answer.data, NotAsked):
        if answer.data.confirm:
            return True
        raise Refused("The user said no; nothing was done. Do not ask again unless the user wants it.")
    if confirm is None:
        return False
    if confirm != mark:
        raise Conflict(
            f"{confirm!r} does not confirm this for {what} as it is now; nothing was done.",
            hint="Call again without confirm: the answer shows what would go, and the word for it.",
        )
    return True


def mark_of(*facts: object) -> str:
    """Return the word for these facts: twelve characters that change with any of them."""
    return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()[:12]
