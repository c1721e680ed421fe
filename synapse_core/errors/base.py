"""The root of the tree, and the kinds that cut across it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` of `known` that `name` may have meant, the closest first."""
    import difflib  # 2 ms, for what is misspelt

    lowered = {entry.lower(): entry for entry in known}
    return [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, most, 0.5)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean a, b?' for the nearest of `known`, or an empty text where none is near."""
    near = nearest(name, known)
    return f" Did you mean {', '.join(near)}?" if near else ""


class SynapseError(Exception):
    """The root: a failure that was foreseen and whose text was written for whoever can repair it.

    hint: what to do next, one sentence.
    details: plain JSON data for programs.
    retryable: True where the same call can succeed later without a change.
    """

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        hint: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors differ, and errors travel between processes: rebuild from what they hold.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[SynapseError], arguments: tuple[Any, ...], state: dict[str, Any]) -> SynapseError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


class NotFound(SynapseError):
    """A name or an id that stands for nothing."""

    code = "not_found"


class InvalidRequest(SynapseError):
    """The call cannot be carried out as asked, and nothing was changed."""

    code = "invalid_request"


class Conflict(SynapseError):
    """The key that was given already stands for another request."""

    code = "conflict"


class Unavailable(SynapseError):
    """A service that the call needs does not answer; nothing was changed."""

    code = "unavailable"
    retryable = True
