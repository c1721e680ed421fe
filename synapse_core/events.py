"""The events of a run: the only output of an action, one JSON object a line.

Every event carries `seq` (from 1, without gaps, in the order of emission), `at` (UTC) and its `kind`.
The last event of a run is terminal and there is exactly one of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from synapse_core.enums import ActionState
from synapse_core.errors import InvalidResult

# A line of events.jsonl holds at most this many bytes; larger things belong into the artifacts.
MAX_LINE_BYTES = 1_000_000
_MAX_TEXT_CHARS = 64_000


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What all events share. `seq` and `at` are set by the logger that writes the event down.

    action: the entry of a pipeline that the event belongs to, None where it belongs to the run itself.
    """

    seq: int = 0
    at: datetime | None = None
    action: str | None = None


class RunStarted(Event, frozen=True, tag="run_started"):
    """The worker is up and about to load the action."""

    pid: int
    host: str = ""
    mode: str = ""


class StepStarted(Event, frozen=True, tag="step_started"):
    """A step begins. `index` counts from 1; `start` and `share` place it in the whole, each in [0, 1]."""

    step: str
    index: int
    total: int
    start: float
    share: float


class StepFinished(Event, frozen=True, tag="step_finished"):
    """A step ended; `skipped` steps did no work."""

    step: str
    success: bool = True
    skipped: bool = False
    elapsed_seconds: float = 0.0
    error: str | None = None


class StepRolledBack(Event, frozen=True, tag="step_rolled_back"):
    """A step's work was undone, or `error` says why it could not be."""

    step: str
    error: str | None = None


class Progress(Event, frozen=True, tag="progress"):
    """How far one category of work is. `percent` in [0, 100], two decimals; times in seconds."""

    current: float
    total: float
    percent: float
    category: str | None = None
    elapsed_seconds: float = 0.0
    remaining_seconds: float | None = None
    status: str = "running"


class Metrics(Event, frozen=True, tag="metrics"):
    """All the metrics of one category as they now stand (earlier values merged in)."""

    category: str
    values: dict[str, Any]


class Log(Event, frozen=True, tag="log"):
    """A structured entry of the action's own naming."""

    event: str
    data: dict[str, Any] = {}
    level: str = "info"
    file: str | None = None
    category: str | None = None


class Message(Event, frozen=True, tag="message"):
    """A sentence for the person who watches the run."""

    text: str
    level: str = "info"
    category: str | None = None


class Artifact(Event, frozen=True, tag="artifact"):
    """A file that the run produced. `uri` is relative to the run folder, or absolute with a scheme."""

    name: str
    uri: str
    size_bytes: int = 0


class ActionStarted(Event, frozen=True, tag="action_started"):
    """An action of a pipeline begins. `index` counts from 1, and so does `attempt`."""

    index: int
    total: int
    attempt: int = 1


class ActionFinished(Event, frozen=True, tag="action_finished"):
    """An action of a pipeline ended, or this attempt of it did. One that succeeded is a checkpoint.

    state: succeeded, failed, stopped, lost, or skipped where an earlier run's result was taken over.
    """

    state: ActionState
    result: Any = None
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    retryable: bool = False
    details: dict[str, Any] = {}
    attempt: int = 1
    elapsed_seconds: float = 0.0


class Succeeded(Event, frozen=True, tag="succeeded"):
    """Terminal: the action returned `result`, plain JSON data."""

    result: Any = None
    result_warnings: list[str] = []


class Failed(Event, frozen=True, tag="failed"):
    """Terminal: the action did not succeed."""

    code: str
    message: str
    hint: str | None = None
    retryable: bool = False
    details: dict[str, Any] = {}
    traceback: str | None = None


class Stopped(Event, frozen=True, tag="stopped"):
    """Terminal: the run was asked to stop and did."""

    message: str = "The run was stopped on request."


AnyEvent: TypeAlias = (
    RunStarted
    | StepStarted
    | StepFinished
    | StepRolledBack
    | Progress
    | Metrics
    | Log
    | Message
    | Artifact
    | ActionStarted
    | ActionFinished
    | Succeeded
    | Failed
    | Stopped
)
TERMINAL_KINDS: tuple[type[Event], ...] = (Succeeded, Failed, Stopped)


def is_terminal(event: Event) -> bool:
    """Return True where no event can follow this one."""
    return isinstance(event, TERMINAL_KINDS)


def stamped(event: AnyEvent, seq: int) -> AnyEvent:
    """Return the event with its place in the order and the present time."""
    return msgspec.structs.replace(event, seq=seq, at=datetime.now(UTC))


def encode_line(event: AnyEvent) -> bytes:
    """Return the event as one line of JSON, its line end included.

    Values that JSON has no form for are written as text. A line is at most MAX_LINE_BYTES long: a log
    entry that would be longer is cut and says so.
    Raises InvalidResult where a terminal event would be longer.
    """
    try:
        line = _encoder.encode(event)
    except UnicodeEncodeError:
        # Lone surrogates (undecodable file names, say) have no UTF-8 form.
        line = _encoder.encode(msgspec.convert(_replace_surrogates(_to_builtins(event)), AnyEvent))
    if len(line) > MAX_LINE_BYTES:
        line = _encoder.encode(_cut(event, len(line)))
    return line + b"\n"


def decode_line(line: bytes) -> AnyEvent:
    """Return the event that `line` holds.

    Raises msgspec.MsgspecError where it holds none.
    """
    return _decoder.decode(line)


def to_plain(value: Any) -> Any:
    """Return an action's result as plain JSON data.

    Pydantic models, dataclasses, structs, mappings, sequences, dates, paths, enums and array scalars have
    a plain form.
    Raises InvalidResult that names the part that has none.
    """
    try:
        plain = _to_builtins(value, _plain_form)
    except (TypeError, ValueError, RecursionError) as error:
        where = _unserialisable_path(value)
        raise InvalidResult(
            f"The action's result cannot be recorded as JSON: {where or error}.",
            hint="Return plain data (numbers, texts, lists, mappings, pydantic models); save objects such as "
            "models or arrays as files in the artifacts folder and return their paths.",
        ) from error
    try:
        size = len(_encoder.encode(plain))
    except UnicodeEncodeError:
        plain = _replace_surrogates(plain)
        size = len(_encoder.encode(plain))
    if size > MAX_LINE_BYTES - 4096:
        raise InvalidResult(
            f"The action's result is {size:,} bytes long; a run record holds at most {MAX_LINE_BYTES:,}.",
            hint="Write it into a file in the artifacts folder and return the file's name and a summary.",
        )
    return plain


def _plain_form(value: Any) -> Any:
    """Return a plainer form of a value that has no JSON form of its own."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__}")


def _text_form(value: Any) -> Any:
    """Return a plain form of any value at all: what has none becomes its text."""
    try:
        return _plain_form(value)
    except TypeError:
        return str(value)[:_MAX_TEXT_CHARS]


_encoder = msgspec.json.Encoder(enc_hook=_text_form)
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def _to_builtins(value: Any, hook: Any = _text_form) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=hook)


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_replace_surrogates(entry) for entry in value]
    return value


def _cut(event: AnyEvent, length: int) -> AnyEvent:
    """Return a shorter form of an event whose line is `length` bytes long."""
    note = f"cut: the entry was {length:,} bytes long"
    if isinstance(event, Log):
        return msgspec.structs.replace(event, data={"cut": note})
    if isinstance(event, Metrics):
        return msgspec.structs.replace(event, values={"cut": note})
    if isinstance(event, Message):
        return msgspec.structs.replace(event, text=event.text[:_MAX_TEXT_CHARS] + f" ({note})")
    if isinstance(event, Failed):
        return msgspec.structs.replace(
            event,
            message=event.message[:_MAX_TEXT_CHARS],
            details={"cut": note},
            traceback=(event.traceback or "")[-_MAX_TEXT_CHARS:],
        )
    raise InvalidResult(f"An event of {length:,} bytes is too long to record.")


def _unserialisable_path(value: Any, path: str = "result", depth: int = 0) -> str | None:
    """Return 'result.a[3] is a X' for the first part of `value` that has no JSON form."""
    if depth > 50:
        return f"{path[:80]}… is nested too deeply or contains itself"
    if isinstance(value, Mapping):
        children = [(f"{path}.{key}", entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple | set):
        children = [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]
    else:
        children = []
    for child_path, child in children:
        if found := _unserialisable_path(child, child_path, depth + 1):
            return found
    if children:
        return None
    try:
        _to_builtins(value, _plain_form)
    except (TypeError, ValueError) as error:
        kind = type(value)
        return f"{path} is a {kind.__module__}.{kind.__qualname__} ({error})"
    return None
