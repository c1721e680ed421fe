"""The events of a run: the only output of an action, one JSON object a line.

Every event carries `seq` (from 1, without gaps, in the order of emission), `at` (UTC) and its `kind`.
The last event of a run is terminal and there is exactly one of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from os import SEEK_END
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from synapse_core.enums import ActionState
from synapse_core.errors import InvalidResult

# A line of events.jsonl holds at most this many bytes; larger things belong into the artifacts.
MAX_LINE_BYTES = 1_000_000
# What a text of an event that is too long keeps; the second where every character takes several bytes.
_CUT_CHARS = (64_000, 8_000)
# Enough for the usual last event.
_LAST_BYTES = 1 << 14
_MOST_WARNINGS = 20
_MOST_DEPTH = 50


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


class Question(Event, frozen=True, tag="question"):
    """The run waits for the user to fill in a form. `schema`: its JSON schema, one level of plain fields."""

    question_id: str
    message: str
    schema: dict[str, Any]


class Answered(Event, frozen=True, tag="answered"):
    """The run has an answer: accept, decline or cancel. What was filled in is not recorded."""

    question_id: str
    choice: str


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
    | Question
    | Answered
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

    Values that JSON has no form for are written as text, NaN and infinities as null. A line is at most
    MAX_LINE_BYTES long: an event that would be longer is cut and says so.
    Raises InvalidResult where the result of a run would have to be cut.
    """
    try:
        line = _encoder.encode(event)
    except (ValueError, TypeError, RecursionError):
        # Lone surrogates (undecodable file names, say) have no UTF-8 form; what contains itself has no end.
        event = msgspec.structs.replace(event, **_writable(msgspec.structs.asdict(event)))
        line = _encoder.encode(event)
    length = len(line)
    for most_chars in _CUT_CHARS:
        if len(line) <= MAX_LINE_BYTES:
            return line + b"\n"
        line = _encoder.encode(_cut(event, most_chars, f"cut: the entry was {length:,} bytes long"))
    if len(line) > MAX_LINE_BYTES:
        raise InvalidResult(f"An event of {length:,} bytes is too long to record.")
    return line + b"\n"


def decode_line(line: bytes) -> AnyEvent:
    """Return the event that `line` holds.

    Raises msgspec.MsgspecError where it holds none.
    """
    try:
        return _decoder.decode(line)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"The line is not UTF-8: {error}") from error


def ends_terminal(path: Path) -> bool:
    """Return True where the last event of a file is, or may be, terminal; False where there is no file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    except FileNotFoundError:
        return False
    try:
        return is_terminal(decode_line(last))
    except msgspec.MsgspecError:
        return True  # a line longer than what was read, or one that is being written: read on to know


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
    except (TypeError, ValueError, RecursionError):
        return str(value)[: _CUT_CHARS[0]]


_encoder = msgspec.json.Encoder(enc_hook=_text_form)
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def _to_builtins(value: Any, hook: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=hook)


def _writable(value: Any, around: tuple[int, ...] = ()) -> Any:
    """Return a value as it can be written whatever it holds: broken texts mended, endless nesting ended.

    around: the ids of the values that it lies in.
    """
    if isinstance(value, str):
        return _replace_surrogates(value)
    if id(value) in around or len(around) > _MOST_DEPTH:
        return "… is nested too deeply or contains itself"
    inside = (*around, id(value))
    if isinstance(value, Mapping):
        return {_replace_surrogates(str(key)): _writable(entry, inside) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_writable(entry, inside) for entry in value]
    try:
        _encoder.encode(value)
    except (ValueError, TypeError, RecursionError):
        return _replace_surrogates(str(value)[: _CUT_CHARS[0]])
    return value


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_replace_surrogates(entry) for entry in value]
    return value


def _cut(event: AnyEvent, most_chars: int, note: str) -> AnyEvent:
    """Return an event with its long texts and data shortened. What a run returned is never shortened."""
    shorter: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(event).items():
        if name == "result":
            continue
        if isinstance(value, str) and len(value) > most_chars:
            # A traceback tells the most at its end.
            kept = value[-most_chars:] if name == "traceback" else value[:most_chars]
            shorter[name] = f"{kept} ({note})"
        elif isinstance(value, dict) and len(_encoder.encode(value)) > most_chars:
            shorter[name] = {"cut": note}
        elif isinstance(value, list) and len(_encoder.encode(value)) > most_chars:
            shorter[name] = [
                *(entry[: most_chars // _MOST_WARNINGS] for entry in value[:_MOST_WARNINGS]),
                note,
            ]
    return msgspec.structs.replace(event, **shorter)


def _unserialisable_path(value: Any, path: str = "result", depth: int = 0) -> str | None:
    """Return 'result.a[3] is a X' for the first part of `value` that has no JSON form."""
    if depth > _MOST_DEPTH:
        return f"{path[:80]}… is nested too deeply or contains itself"
    if isinstance(value, Mapping):
        for key in value:
            try:
                _to_builtins({key: None}, _plain_form)
            except (TypeError, ValueError):
                return f"{path} has the key {key!r}, and keys are texts"
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
