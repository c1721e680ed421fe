"""The answers to what a run asks: a file each in the run's folder, written once and by whoever is first."""

from __future__ import annotations

import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from synapse_core.decoding import decoded

Choice = Literal["accept", "decline", "cancel"]

# What can be the name of a file: those of pipelines begin with the name of the action.
_QUESTION_ID = re.compile(r"\w[\w.-]{0,99}")


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the user said. content: what was filled in, of an answer that was accepted and not taken yet."""

    at: datetime
    action: Choice
    content: dict[str, Any] | None = None


class Answers:
    """The answers in one run folder. Whoever watches writes them, whoever executes takes them.

    An answer may be secret: only the owner can read it, and it is emptied when it has been taken.
    """

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder / "answers"

    def put(self, question_id: str, answer: Answer) -> bool:
        """Answer a question. Returns False where somebody has answered it already: that holds."""
        if not _QUESTION_ID.fullmatch(question_id):
            return False
        self._folder.mkdir(mode=0o700, exist_ok=True)
        temporary = self._temporary(question_id, answer)
        try:
            # A link is made whole or not at all, and only where the name is free.
            os.link(temporary, self._file(question_id))
            return True
        except FileExistsError:
            return False
        finally:
            temporary.unlink()

    def get(self, question_id: str) -> Answer | None:
        """Return an answer, None where there is none yet."""
        try:
            content = self._file(question_id).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return decoded(content, Answer)

    def has(self, question_id: str) -> bool:
        return self._file(question_id).exists()

    def take(self, question_id: str) -> Answer | None:
        """Return an answer and empty it, None where there is none yet."""
        answer = self.get(question_id)
        if answer is not None and answer.content is not None:
            # Its name stays taken: who comes too late is told so.
            emptied = msgspec.structs.replace(answer, content=None)
            self._temporary(question_id, emptied).replace(self._file(question_id))
        return answer

    def ids(self) -> list[str]:
        """Return which questions have been answered."""
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name.removesuffix(".json") for name in names if not name.startswith("."))

    def _file(self, question_id: str) -> Path:
        return self._folder / f"{question_id}.json"

    def _temporary(self, question_id: str, answer: Answer) -> Path:
        temporary = self._folder / f".{question_id}.{os.getpid()}.{secrets.token_hex(4)}"
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "wb") as file:
            file.write(msgspec.json.encode(answer))
        return temporary


def answer_now(action: Choice, content: dict[str, Any] | None = None) -> Answer:
    """Return an answer of this moment; content counts where it was accepted."""
    return Answer(datetime.now(UTC), action, (content or {}) if action == "accept" else None)
