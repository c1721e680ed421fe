"""What a service answers: which error a status stands for, and records out of JSON."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from synapse_core.decoding import decoded
from synapse_core.errors import (
    BackendConflict,
    BackendError,
    BackendRejected,
    BackendUnauthorized,
    BackendUnavailable,
    InvalidAnswer,
    RateLimited,
    RecordNotFound,
)

T = TypeVar("T")
_MOST_WORDS = 1000
_EXCERPT = 120


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, as the REST API has it. next: the address of the page behind it."""

    count: int
    results: list[T]
    next: str | None = None
    previous: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back, read to its end. asked: method and address, for messages. headers: in lower case.

    clean: takes secrets out of a text that is going to be shown; a careless service repeats them.
    """

    asked: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    clean: Callable[[str], str] = field(default=str, repr=False)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def text(self, most: int) -> str:
        """Return the beginning of the body, fit to be shown. most: characters."""
        return self.clean(self.body[: 8 * most].decode(errors="replace"))[:most].strip()

    def decoded(self, kind: type[T]) -> T:
        """Return the body as a record of `kind`. Raises InvalidAnswer naming what came instead."""
        try:
            return decoded(self.body, kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.invalid(f"which is not what was asked for ({error})") from error

    def invalid(self, why: str) -> InvalidAnswer:
        """Return the error of an answer that no backend gives."""
        excerpt = self.text(_EXCERPT)
        return InvalidAnswer(
            f"{self.asked} answered {self.status} with {self.content_type or 'no type'} {excerpt!r}, {why}.",
            {"status": self.status, "content_type": self.content_type},
            hint="Check that the address is that of a Synapse backend; a proxy or a login page in between "
            "answers like this.",
        )


def error_of(answer: Answer) -> BackendError:
    """Return what an answer that is no success means; it carries the service's own words."""
    status = answer.status
    if 300 <= status < 400:
        return answer.invalid(f"a redirect to {_place(answer)}, which is not followed")
    told = _told(answer)
    details: dict[str, Any] = {**_mapping(told.get("details")), "status": status}
    words = _words(told, answer)
    hint = told.get("hint") if isinstance(told.get("hint"), str) else None
    if status in (401, 403):
        return BackendUnauthorized(
            f"{answer.asked} was refused: {words}",
            details,
            hint=hint or "Check the token of this backend, and that it may do this.",
        )
    if status == 404 and answer.content_type != "text/html":
        return _not_found(answer, words, details, hint)
    if status == 409:
        return BackendConflict(words, details, hint=hint)
    if status == 429:
        return RateLimited(
            f"{answer.asked} was refused for now, there are too many calls: {words}",
            {**details, "retry_after_seconds": retry_after(answer)},
            hint=hint or "Wait a little, then call again.",
        )
    if status in (400, 405, 413, 415, 422):
        return BackendRejected(words, details, hint=hint)
    if status >= 500:
        return BackendUnavailable(
            f"{answer.asked} failed with {status}: {words}",
            details,
            hint=hint or "The service has the reason in its log; call again later.",
        )
    return answer.invalid("which is no answer of a backend")


def retry_after(answer: Answer) -> float | None:
    """Return the seconds that the service asks to wait, None where it does not say."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, at.timestamp() - time.time())


def _place(answer: Answer) -> str:
    """Return where a redirect leads, without a query, which can hold secrets."""
    return repr(answer.clean(answer.headers.get("location", "").partition("?")[0])[:200])


def _told(answer: Answer) -> dict[str, Any]:
    try:
        return _mapping(msgspec.json.decode(answer.clean(answer.body.decode())))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(told: Mapping[str, Any], answer: Answer) -> str:
    """Return what the service says in words: `message`, `detail`, or all of a short answer."""
    for name in ("message", "detail"):
        if isinstance(told.get(name), str) and told[name]:
            return str(told[name])[:_MOST_WORDS]
    text = answer.text(_MOST_WORDS)
    if not text or answer.content_type == "text/html":
        return f"the service answered {answer.status} without a reason"
    return text


def _not_found(
    answer: Answer, words: str, details: dict[str, Any], hint: str | None
) -> RecordNotFound | InvalidAnswer:
    kind, asked = details.get("kind"), details.get("asked")
    if kind is None:
        # Another service than ours: the address says what was asked for.
        parts = answer.asked.partition("?")[0].rstrip("/").split("/")
        kind, asked = " ".join(parts[-2:-1]), parts[-1]
    error = RecordNotFound(str(kind), asked, hint=hint)
    error.details.update(details, said=words)
    return error
