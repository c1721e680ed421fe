"""What becomes of the calls that an action makes to its logger."""

from __future__ import annotations

import math
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from synapse_core import loggers
from synapse_core.enums import LogLevel
from synapse_core.events import (
    AnyEvent,
    Artifact,
    Failed,
    Log,
    Message,
    Metrics,
    Progress,
    RunStarted,
    StepFinished,
    StepRolledBack,
    StepStarted,
    Stopped,
    Succeeded,
    decode_line,
)
from synapse_core.loggers import (
    BaseLogger,
    ConsoleLogger,
    EventLogger,
    NoOpLogger,
    ProgressData,
    readable_line,
)


class ListLogger(BaseLogger):
    """Keeps the events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[AnyEvent] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def strftime(self, form: str) -> str:
        return "12:00:01"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loggers, "time", clock)
    return clock


@pytest.fixture
def logger() -> ListLogger:
    return ListLogger()


# Progress


@pytest.mark.parametrize(
    ("current", "total", "percent"), [(0, 3, 0), (1, 3, 33.33), (2, 3, 66.67), (3, 3, 100), (0.5, 2.5, 20)]
)
def test_percent_is_the_share_with_two_decimals(
    logger: ListLogger, current: float, total: float, percent: float
):
    logger.set_progress(current, total)

    assert logger.get_progress() == ProgressData(percent, logger.get_progress().time_remaining, 0.0)
    assert [(event.current, event.total, event.percent) for event in logger.events] == [
        (current, total, percent)
    ]


@pytest.mark.parametrize(
    ("current", "total"),
    [
        (0, 0),
        (1, 0),
        (0, -1),
        (-1, 10),
        (11, 10),
        (math.nan, 10),
        (1, math.nan),
        (1, math.inf),
        (math.inf, math.inf),
    ],
)
def test_progress_outside_of_its_total_is_refused_and_nothing_is_told(
    logger: ListLogger, current: float, total: float
):
    with pytest.raises(ValueError, match="must be"):
        logger.set_progress(current, total)

    assert logger.events == []
    assert logger.get_progress() is None


def test_elapsed_and_remaining_are_counted_from_the_first_call(clock: Clock, logger: ListLogger):
    logger.set_progress(1, 10)
    clock.now += 3
    logger.set_progress(4, 10)

    assert logger.get_progress() == ProgressData(40.0, 4.5, 3.0)
    last = logger.events[-1]
    assert (last.elapsed_seconds, last.remaining_seconds, last.status) == (3.0, 4.5, "running")


def test_nothing_is_known_of_the_remaining_time_while_nothing_is_done(clock: Clock, logger: ListLogger):
    logger.set_progress(0, 10)
    clock.now += 5

    assert logger.get_progress() == ProgressData(0.0, None, 0.0)
    assert logger.events[-1].remaining_seconds is None


def test_times_have_two_decimals(clock: Clock, logger: ListLogger):
    logger.set_progress(0, 3)
    clock.now += 1.23456
    logger.set_progress(2, 3)

    assert logger.get_progress() == ProgressData(66.67, 0.62, 1.23)


def test_each_category_has_a_clock_of_its_own(clock: Clock, logger: ListLogger):
    logger.set_progress(0, 10, "load")
    clock.now += 10
    logger.set_progress(0, 10, category="train")
    clock.now += 2
    logger.set_progress(5, 10, "load")
    logger.set_progress(5, 10, "train")

    assert logger.get_progress("load").elapsed_time == 12
    assert logger.get_progress("train").elapsed_time == 2
    assert logger.get_progress() is None


def test_a_progress_of_zero_starts_the_clock_anew(clock: Clock, logger: ListLogger):
    logger.set_progress(1, 2, "epoch")
    clock.now += 100
    logger.set_progress(0, 2, "epoch")
    clock.now += 1
    logger.set_progress(1, 2, "epoch")

    assert logger.get_progress("epoch") == ProgressData(50.0, 1.0, 1.0)


def test_a_category_is_named_by_either_keyword_or_the_current_step(logger: ListLogger):
    logger.set_progress(1, 2)
    logger.set_step("train")
    logger.set_progress(1, 2)
    logger.set_progress(1, 2, "mine")
    logger.set_progress(1, 2, step="mine")
    logger.set_progress(1, 2, category="mine")
    logger.set_step(None)
    logger.set_progress(1, 2)

    assert [event.category for event in logger.events] == [None, "train", "mine", "mine", "mine", None]
    assert logger.get_step() is None


def test_a_failed_category_stands_at_zero_and_keeps_its_time(clock: Clock, logger: ListLogger):
    logger.set_progress(5, 10, "train")
    clock.now += 2
    logger.set_progress_failed("train")
    logger.set_progress_failed()

    assert logger.get_progress("train") == ProgressData(0.0, None, 2.0, "failed")
    assert logger.get_progress() == ProgressData(0.0, None, 0.0, "failed")
    assert [(event.percent, event.status) for event in logger.events[1:]] == [(0.0, "failed")] * 2


# Metrics


def test_metrics_are_merged_within_their_category_and_told_whole(logger: ListLogger):
    logger.set_metrics({"loss": 0.9, "epoch": 1}, "train")
    logger.set_metrics({"loss": 0.5}, category="train")
    logger.set_metrics({"loss": 0.7}, "validation")

    assert logger.get_metrics("train") == {"loss": 0.5, "epoch": 1}
    assert logger.get_metrics("validation") == {"loss": 0.7}
    assert [(event.category, event.values) for event in logger.events] == [
        ("train", {"loss": 0.9, "epoch": 1}),
        ("train", {"loss": 0.5, "epoch": 1}),
        ("validation", {"loss": 0.7}),
    ]


def test_metrics_without_a_category_are_those_of_the_current_step(logger: ListLogger):
    logger.set_step("train")
    logger.set_metrics({"loss": 1})

    assert logger.events == [Metrics(category="train", values={"loss": 1})]
    assert logger.get_metrics() == {"loss": 1}


def test_what_is_told_of_metrics_does_not_change_afterwards(logger: ListLogger):
    values = {"loss": 1}
    logger.set_metrics(values, "train")
    values["loss"] = 2
    logger.get_metrics("train")["loss"] = 3
    logger.set_metrics({"epoch": 1}, "train")

    assert logger.events[0].values == {"loss": 1}
    assert logger.get_metrics("train") == {"loss": 1, "epoch": 1}


@pytest.mark.parametrize("value", [1, None, "loss", [("loss", 1)]])
def test_metrics_that_are_no_mapping_are_refused(logger: ListLogger, value: Any):
    with pytest.raises(TypeError, match=f"metrics must be a mapping, not {type(value).__name__}"):
        logger.set_metrics(value, "train")


def test_metrics_of_a_category_that_was_never_named_are_empty(logger: ListLogger):
    assert logger.get_metrics("never") == {}


# Entries and messages


def test_an_entry_carries_all_that_was_given(logger: ListLogger):
    logger.log(LogLevel.WARNING, "drift", {"by": 3}, "plot.png", "train")

    assert logger.events == [
        Log(event="drift", data={"by": 3}, level="warning", file="plot.png", category="train")
    ]


def test_an_entry_belongs_to_the_current_step_by_default(logger: ListLogger):
    logger.set_step("load")
    logger.log(LogLevel.INFO, "seen", {})
    logger.info("Seen.")

    assert [event.category for event in logger.events] == ["load", "load"]


@pytest.mark.parametrize("level", ["info", 20, None])
def test_a_level_is_a_log_level(logger: ListLogger, level: Any):
    with pytest.raises(TypeError, match="level must be a LogLevel"):
        logger.log(level, "seen", {})


@pytest.mark.parametrize("data", ["text", None, [1]])
def test_the_data_of_an_entry_is_a_mapping(logger: ListLogger, data: Any):
    with pytest.raises(TypeError, match="data must be a mapping"):
        logger.log(LogLevel.INFO, "seen", data)


def test_each_word_has_its_level(logger: ListLogger):
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, name)(f"a {name}")

    assert [(event.level, event.text) for event in logger.events] == [
        (name, f"a {name}") for name in ("debug", "info", "warning", "error", "critical")
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda logger: logger.info("x"),
        lambda logger: logger.log(LogLevel.INFO, "x", {}),
        lambda logger: logger.set_progress(1, 2),
        lambda logger: logger.set_progress_failed(),
        lambda logger: logger.set_metrics({"a": 1}, "x"),
    ],
)
def test_a_finished_logger_takes_nothing_more(logger: ListLogger, call: Any):
    logger.finish()

    with pytest.raises(RuntimeError, match="finished"):
        call(logger)
    assert logger.events == []


def test_levels_are_read_in_any_case_and_ordered():
    assert LogLevel.parse("Warning") is LogLevel.WARNING
    assert LogLevel.parse(LogLevel.INFO) is LogLevel.INFO
    assert [level.rank for level in LogLevel] == list(range(7))
    with pytest.raises(ValueError, match="the levels are debug, info, success"):
        LogLevel.parse("loud")


# The console


def test_the_console_shows_a_line_for_each_event(clock: Clock):
    shown: list[str] = []
    console = ConsoleLogger(shown.append)

    console.info("Hello.")
    console.log(LogLevel.WARNING, "drift", {"by": 3, "at": "x"})
    console.set_metrics({"loss": 0.5, "epoch": 2}, "train")
    console.set_progress(1, 4, "train")
    console.set_progress(1, 3)

    assert shown == [
        "12:00:01 INFO     Hello.\n",
        "12:00:01 WARNING  drift by=3 at=x\n",
        "train: loss=0.5, epoch=2\n",
        "train: 1/4 (25 %)\n",
        "progress: 1/3 (33.33 %)\n",
    ]


def test_the_console_shows_fast_progress_twice_a_second_and_its_end_always(clock: Clock):
    shown: list[str] = []
    console = ConsoleLogger(shown.append)

    for current in range(1, 101):
        clock.now += 2**-6  # 64 in a second, and exact
        console.set_progress(current, 100, "train")
        console.set_progress(current, 1000, "other")

    of_train = [line for line in shown if line.startswith("train")]
    assert [line.split()[1] for line in of_train] == ["1/100", "33/100", "65/100", "97/100", "100/100"]
    of_other = [line for line in shown if line.startswith("other")]
    assert [line.split()[1] for line in of_other] == ["1/1000", "33/1000", "65/1000", "97/1000"]


def test_the_console_shows_a_failed_category_at_once_and_calls_it_failed(clock: Clock):
    shown: list[str] = []
    console = ConsoleLogger(shown.append)
    console.set_progress(1, 10, "train")
    console.set_progress_failed("train")

    assert shown == ["train: 1/10 (10 %)\n", "train: failed\n"]


def test_the_console_writes_to_stderr_and_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]):
    console = ConsoleLogger()
    console.info("Hello.")
    console.set_progress(1, 1)

    out, err = capsys.readouterr()
    assert out == ""
    assert "INFO     Hello." in err
    assert "progress: 1/1 (100 %)" in err


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Message(text="Hello.", level="success"), "SUCCESS  Hello."),
        (StepStarted(step="load", index=1, total=3, start=0, share=0.5), "INFO     step 1/3 load started"),
        (StepFinished(step="load", elapsed_seconds=1.234), "INFO     step load finished after 1.23 s"),
        (StepFinished(step="load", skipped=True), "INFO     step load skipped after 0.00 s"),
        (
            StepFinished(step="load", success=False, error="full"),
            "ERROR    step load failed: full after 0.00 s",
        ),
        (StepRolledBack(step="load"), "WARNING  step load rolled back"),
        (StepRolledBack(step="load", error="locked"), "ERROR    rollback of step load failed: locked"),
        (
            Artifact(name="a.png", uri="artifacts/a.png", size_bytes=12345),
            "INFO     artifact a.png (12,345 bytes)",
        ),
        (Failed(code="step_failed", message="No."), "ERROR    failed (step_failed): No."),
        # Nobody forges a line, and nothing of it is a command of a terminal.
        (
            Message(text="lost a\n12:00:02 ERROR    b.png", level="info"),
            "INFO     lost a\n                  12:00:02 ERROR    b.png",
        ),
        (
            Log(
                event="seen",
                data={"name": "\x1b]0;title\x07\x1b[31ma\x1b[0m\x08\u202e\x9b2J.png"},
                level="info",
            ),
            "INFO     seen name=a\\x08\\u202e.png",
        ),
    ],
)
def test_a_reader_of_the_log_is_told(clock: Clock, event: AnyEvent, line: str):
    assert readable_line(event) == f"12:00:01 {line}\n"


@pytest.mark.parametrize(
    "event", [RunStarted(pid=1), Progress(current=1, total=2, percent=50), Succeeded(), Stopped()]
)
def test_a_reader_of_the_log_is_spared(event: AnyEvent):
    assert readable_line(event) is None


def test_a_silent_logger_keeps_progress_and_metrics_and_shows_nothing(capfd: pytest.CaptureFixture[str]):
    silent = NoOpLogger()
    silent.info("x")
    silent.set_progress(1, 4, "train")
    silent.set_metrics({"loss": 1}, "train")

    assert silent.get_progress("train").percent == 25.0
    assert silent.get_metrics("train") == {"loss": 1}
    assert capfd.readouterr() == ("", "")


# The event file


def events_of(path: Path) -> list[AnyEvent]:
    return [decode_line(line) for line in path.read_bytes().splitlines()]


def test_events_are_numbered_without_gaps_and_bear_their_time(tmp_path: Path):
    before = datetime.now(UTC)
    logger = EventLogger(tmp_path / "events.jsonl")
    logger.info("one")
    logger.set_progress(1, 2)
    logger.emit(Succeeded(result=1))

    events = events_of(tmp_path / "events.jsonl")
    assert [event.seq for event in events] == [1, 2, 3]
    assert [type(event) for event in events] == [Message, Progress, Succeeded]
    assert all(before <= event.at <= datetime.now(UTC) for event in events)
    logger.close()


def test_many_threads_share_one_numbering(tmp_path: Path):
    logger = EventLogger(tmp_path / "events.jsonl")
    start = threading.Barrier(8)

    def report(name: str) -> None:
        start.wait()
        for current in range(50):
            logger.set_progress(current, 50, name)

    threads = [threading.Thread(target=report, args=(f"t{index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.close()

    events = events_of(tmp_path / "events.jsonl")
    assert [event.seq for event in events] == list(range(1, 401))
    for index in range(8):
        mine = [event.current for event in events if event.category == f"t{index}"]
        assert mine == list(range(50))


@pytest.mark.parametrize("ending", [Succeeded(), Failed(code="x", message="y"), Stopped()])
def test_nothing_is_written_after_the_terminal_event(tmp_path: Path, ending: AnyEvent):
    logger = EventLogger(tmp_path / "events.jsonl")
    logger.emit(ending)
    logger.info("late")
    logger.emit(Succeeded())
    logger.close()

    assert [type(event) for event in events_of(tmp_path / "events.jsonl")] == [type(ending)]


def test_closing_twice_closes_no_file_of_anybody_else(tmp_path: Path):
    logger = EventLogger(tmp_path / "events.jsonl")
    logger.close()
    with open(tmp_path / "other", "w") as other:  # bears the number that the logger's file had
        logger.close()
        logger.info("late")
        other.write("mine")
        other.flush()
        assert os.fstat(other.fileno()).st_size == 4

    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_what_a_reader_cares_about_is_echoed(tmp_path: Path):
    echoed: list[str] = []
    logger = EventLogger(tmp_path / "events.jsonl", echo=echoed.append)
    logger.info("Hello.")
    logger.set_progress(1, 2)
    logger.close()

    assert len(echoed) == 1
    assert echoed[0].endswith("INFO     Hello.\n")
