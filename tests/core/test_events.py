"""Events as lines: every kind is read as it was written, whatever an action puts into it."""

from __future__ import annotations

import dataclasses
import enum
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
import pydantic
import pytest

from synapse_core.enums import ActionState
from synapse_core.errors import InvalidResult
from synapse_core.events import (
    MAX_LINE_BYTES,
    TERMINAL_KINDS,
    ActionFinished,
    ActionStarted,
    Answered,
    AnyEvent,
    Artifact,
    Event,
    Failed,
    Log,
    Message,
    Metrics,
    Progress,
    Question,
    RunStarted,
    StepFinished,
    StepRolledBack,
    StepStarted,
    Stopped,
    Succeeded,
    decode_line,
    encode_line,
    is_terminal,
    stamped,
    to_plain,
)

AT = datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

# Each kind with all of its fields.
FULL: dict[str, Event] = {
    "run_started": RunStarted(seq=1, at=AT, pid=7, host="here", mode="task"),
    "step_started": StepStarted(seq=1, at=AT, step="a", index=1, total=2, start=0.25, share=0.5),
    "step_finished": StepFinished(
        seq=1, at=AT, step="a", success=False, skipped=True, elapsed_seconds=1.5, error="no"
    ),
    "step_rolled_back": StepRolledBack(seq=1, at=AT, step="a", error="locked"),
    "progress": Progress(
        seq=1,
        at=AT,
        current=1.5,
        total=3,
        percent=50.0,
        category="train",
        elapsed_seconds=2.5,
        remaining_seconds=2.5,
        status="failed",
    ),
    "metrics": Metrics(seq=1, at=AT, category="train", values={"loss": 0.5, "name": "x", "deep": {"a": [1]}}),
    "log": Log(
        seq=1, at=AT, event="seen", data={"a": [1, {"b": None}]}, level="debug", file="f", category="c"
    ),
    "message": Message(seq=1, at=AT, text='Line\nbreak "é" 한 \u2028', level="error", category="c"),
    "artifact": Artifact(seq=1, at=AT, name="a", uri="artifacts/a", size_bytes=3),
    "question": Question(seq=1, at=AT, question_id="question-1", message="Well?", schema={"type": "object"}),
    "answered": Answered(seq=1, at=AT, question_id="question-1", choice="decline"),
    "action_started": ActionStarted(seq=1, at=AT, action="a", index=2, total=3, attempt=2),
    "action_finished": ActionFinished(
        seq=1,
        at=AT,
        action="a",
        state=ActionState.FAILED,
        result={"a": 1},
        code="c",
        message="m",
        hint="h",
        retryable=True,
        details={"a": 1},
        attempt=2,
        elapsed_seconds=1.5,
    ),
    "succeeded": Succeeded(seq=1, at=AT, result={"a": [1, 2.5, None, True]}, result_warnings=["odd"]),
    "failed": Failed(
        seq=1, at=AT, code="c", message="m", hint="h", retryable=True, details={"a": 1}, traceback="t\nt"
    ),
    "stopped": Stopped(seq=1, at=AT, message="Enough."),
}


def read_back(event: Any) -> Any:
    line = encode_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE_BYTES + 1
    return decode_line(line)


def test_every_kind_is_among_the_examples():
    assert {type(event) for event in FULL.values()} == set(get_args(AnyEvent))


@pytest.mark.parametrize("kind", FULL)
def test_an_event_is_read_as_it_was_written(kind: str):
    line = encode_line(FULL[kind])

    assert decode_line(line) == FULL[kind]
    assert type(decode_line(line)) is type(FULL[kind])
    assert msgspec.json.decode(line)["kind"] == kind


@pytest.mark.parametrize("kind", FULL)
def test_a_field_that_a_later_version_adds_is_passed_over(kind: str):
    line = encode_line(FULL[kind]).replace(b'{"kind"', b'{"added_later":{"a":[1]},"kind"', 1)

    assert decode_line(line) == FULL[kind]


def test_three_kinds_are_terminal():
    assert set(TERMINAL_KINDS) == {Succeeded, Failed, Stopped}
    assert {kind for kind, event in FULL.items() if is_terminal(event)} == {"succeeded", "failed", "stopped"}


def test_a_stamp_adds_the_number_and_the_time():
    event = Message(text="x")
    before = datetime.now(UTC)

    marked = stamped(event, 12)

    assert (marked.seq, marked.text) == (12, "x")
    assert before <= marked.at <= datetime.now(UTC)
    assert (event.seq, event.at) == (0, None)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"null",
        b"[]",
        b'"message"',
        b"{}",
        b'{"seq":1,"text":"x"}',
        b'{"kind":"warmed","seq":1}',
        b'{"kind":7}',
        b'{"kind":"message"}',
        b'{"kind":"message","text":7}',
        b'{"kind":"message","text":"x","seq":"1"}',
        b'{"kind":"message","text":"x"}{"kind":"stopped"}',
        b'{"kind":"message","text":"x',
        b'{"kind":"message","text":"\xff\xfe"}',
        b"\x00\x00\x00\x00",
    ],
)
def test_a_line_that_is_no_event_is_told_by_one_error(line: bytes):
    with pytest.raises(msgspec.MsgspecError):
        decode_line(line)


def test_any_line_cut_short_is_told_by_that_error_too():
    line = encode_line(FULL["message"])

    for length in range(len(line) - 1):
        with pytest.raises(msgspec.MsgspecError):
            decode_line(line[:length])


# What actions put into events


class Colour(enum.Enum):
    RED = "red"


class Point(pydantic.BaseModel):
    x: float = 1.5


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Odd:
    def __str__(self) -> str:
        return "an odd thing"


class Scalar:
    """What an array's scalar looks like."""

    ndim = 0

    def item(self) -> float:
        return 0.25


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Point(), {"x": 1.5}),
        (Pair(1, Point()), {"left": 1, "right": {"x": 1.5}}),
        (Path("a/b"), "a/b"),
        (Scalar(), 0.25),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (date(2025, 3, 1), "2025-03-01"),
        (AT, "2025-03-01T12:00:00.123456Z"),
        (timedelta(days=1), "P1D"),
        (Decimal("1.10"), "1.10"),
        (b"abc", "YWJj"),
        (2**100, 2**100),
        (Odd(), "an odd thing"),
        (Odd, str(Odd)),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        (math.nan, None),
        (math.inf, None),
        ("lone \udcff surrogate", "lone ? surrogate"),
        (Path("lone \udcff surrogate"), "lone ? surrogate"),
        ({"\udcff": ["\udcff", {"\udcff"}, ("\udcff",)]}, {"?": ["?", ["?"], ["?"]]}),
    ],
)
def test_whatever_is_logged_is_written(value: Any, plain: Any):
    assert read_back(Log(event="seen", data={"value": value})).data == {"value": plain}
    assert read_back(Metrics(category="c", values={"value": value})).values == {"value": plain}


def test_what_contains_itself_is_written_up_to_there():
    loop: dict[str, Any] = {"a": 1}
    loop["again"] = [loop, loop]

    data = read_back(Log(event="seen", data={"loop": loop, "b": 2})).data

    assert data["b"] == 2
    assert data["loop"]["a"] == 1
    assert "contains itself" in str(data["loop"]["again"])


def test_what_nests_without_end_is_written_up_to_there():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    line = encode_line(Log(event="seen", data={"deep": deep, "b": 2}))

    assert decode_line(line).data["b"] == 2
    assert b"nested too deeply" in line
    while deep:
        (deep,) = deep


def test_an_unpaired_surrogate_in_any_text_of_any_event_is_written():
    for kind, event in FULL.items():
        texts = {
            name: "a\udcffb" for name, value in msgspec.structs.asdict(event).items() if type(value) is str
        }
        back = read_back(msgspec.structs.replace(event, **texts))
        assert [getattr(back, name) for name in texts] == ["a?b"] * len(texts), kind


@pytest.mark.parametrize("character", ["x", "\0", "한"])
@pytest.mark.parametrize("kind", [kind for kind in FULL if kind != "run_started"])
def test_an_event_that_is_too_long_is_cut_and_says_so(kind: str, character: str):
    """Whatever holds the text: the error of a step, the name of an entry, a hint."""
    flood = character * MAX_LINE_BYTES
    fields = msgspec.structs.asdict(FULL[kind])
    texts = {name: flood for name, value in fields.items() if type(value) is str}
    data = {
        name: {"flood": flood}
        for name, value in fields.items()
        if isinstance(value, dict) and name != "result"
    }
    lists = {name: [flood] * 3 for name, value in fields.items() if isinstance(value, list)}

    back = read_back(msgspec.structs.replace(FULL[kind], **texts, **data, **lists))

    assert type(back) is type(FULL[kind])
    assert (back.seq, back.at) == (1, AT)
    for name in (*texts, *data, *lists):
        assert "bytes long" in str(getattr(back, name)), name


def test_a_short_field_of_an_event_that_is_too_long_is_kept():
    back = read_back(Failed(code="c", message="m" * 2_000_000, hint="h", details={"a": 1}, traceback="t"))

    assert (back.code, back.hint, back.details, back.traceback) == ("c", "h", {"a": 1}, "t")
    assert back.message.startswith("mmm")


def test_of_a_traceback_that_is_too_long_the_end_is_kept():
    back = read_back(Failed(code="c", message="m", traceback="x" * 2_000_000 + "ValueError: the cause"))

    assert "ValueError: the cause" in back.traceback


def test_a_result_is_never_cut_and_its_warnings_are():
    many = ["a wrong value"] * 100_000

    back = read_back(Succeeded(result={"a": "x" * 900_000}, result_warnings=many))

    assert back.result == {"a": "x" * 900_000}
    assert 0 < len(back.result_warnings) < 100
    with pytest.raises(InvalidResult, match=r"2,000,\d\d\d bytes is too long"):
        encode_line(Succeeded(result="x" * 2_000_000))


# Results


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ({"a": Point()}, {"a": {"x": 1.5}}),
        ([Pair(Path("a"), {1: Colour.RED})], [{"left": "a", "right": {"1": "red"}}]),
        (Scalar(), 0.25),
        ({"when": AT}, {"when": "2025-03-01T12:00:00.123456Z"}),
        ("lone \udcff surrogate", "lone ? surrogate"),
        (2**100, 2**100),
    ],
)
def test_a_result_becomes_plain_data(value: Any, plain: Any):
    assert to_plain(value) == plain
    assert read_back(Succeeded(result=to_plain(value))).result == plain


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "result is a builtins.object"),
        ({"models": [1, Odd()]}, r"result\.models\[1\] is a .*Odd"),
        ({"a": {(1, 2): 3}}, r"result\.a has the key \(1, 2\), and keys are texts"),
        ({"a": iter([1])}, r"result\.a is a builtins\.list_iterator"),
        ({"a": print}, r"result\.a is a builtins\.builtin_function"),
        ("x" * 1_000_000, "result is 1,000,002 bytes long"),
    ],
)
def test_a_result_that_cannot_be_recorded_names_the_part_and_what_to_do(value: Any, words: str):
    with pytest.raises(InvalidResult, match=words) as caught:
        to_plain(value)
    assert "artifacts folder" in str(caught.value.hint)


def test_a_result_that_contains_itself_is_told():
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(InvalidResult, match="contains itself"):
        to_plain(loop)


def test_the_largest_result_fits_into_a_line():
    result = "x" * (MAX_LINE_BYTES - 4096 - 2)

    assert read_back(stamped(Succeeded(result=to_plain(result)), 10**9)).result == result
