"""Workflows in steps: their order, what they report, and that nothing is left half done."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from synapse_core import BaseAction, RuntimeContext
from synapse_core.enums import LogLevel
from synapse_core.errors import RunStopped, StepFailed
from synapse_core.events import (
    AnyEvent,
    Log,
    Message,
    Metrics,
    Progress,
    StepFinished,
    StepRolledBack,
    StepStarted,
)
from synapse_core.loggers import BaseLogger
from synapse_core.steps import (
    BaseStep,
    BaseStepContext,
    LoggingStep,
    Orchestrator,
    StepRegistry,
    StepResult,
    TimingStep,
    ValidationStep,
)


class ListLogger(BaseLogger):
    """Keeps the events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[AnyEvent] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)


@dataclass
class Diary(BaseStepContext):
    """A context that remembers what was done, in order."""

    done: list[str] = field(default_factory=list)


class Step(BaseStep[Diary]):
    """Does what it is told to and writes it into the diary."""

    def __init__(
        self,
        name: str,
        weight: float = 0.1,
        work: Callable[[Diary], Any] = lambda context: StepResult(),
        skip: Callable[[Diary], bool] = lambda context: False,
        undo: Callable[[Diary, StepResult], None] = lambda context, result: None,
    ) -> None:
        self._name = name
        self._weight = weight
        self._work = work
        self._skip = skip
        self._undo = undo

    @property
    def name(self) -> str:
        return self._name

    @property
    def progress_weight(self) -> float:
        return self._weight

    def execute(self, context: Diary) -> StepResult:
        context.done.append(self.name)
        return self._work(context)

    def can_skip(self, context: Diary) -> bool:
        return self._skip(context)

    def rollback(self, context: Diary, result: StepResult) -> None:
        context.done.append(f"undo {self.name}")
        self._undo(context, result)


def fail(message: str) -> Callable[..., Any]:
    def work(*_: Any) -> Any:
        raise ValueError(message)

    return work


def registry_of(*steps: BaseStep[Any]) -> StepRegistry[Any]:
    registry: StepRegistry[Any] = StepRegistry()
    for step in steps:
        registry.register(step)
    return registry


@pytest.fixture
def logger() -> ListLogger:
    return ListLogger()


@pytest.fixture
def diary(logger: ListLogger) -> Diary:
    return Diary(RuntimeContext(logger))


def names(registry: StepRegistry[Any]) -> list[str]:
    return [step.name for step in registry.get_steps()]


# The registry


def test_steps_stand_in_the_order_in_which_they_were_registered():
    assert names(registry_of(Step("a"), Step("b"), Step("c"))) == ["a", "b", "c"]


def test_steps_are_inserted_before_and_after_a_named_one():
    registry = registry_of(Step("a"), Step("b"))

    registry.insert_after("a", Step("after a"))
    registry.insert_before("a", Step("before a"))
    registry.insert_after("b", Step("last"))

    assert names(registry) == ["before a", "a", "after a", "b", "last"]


@pytest.mark.parametrize("insert", [StepRegistry.insert_before, StepRegistry.insert_after])
def test_an_insertion_at_a_step_that_is_not_there_names_those_that_are(insert: Any):
    registry = registry_of(Step("load"), Step("save"))

    with pytest.raises(ValueError, match=r"no step 'train'; the steps are load, save"):
        insert(registry, "train", Step("new"))
    assert names(registry) == ["load", "save"]


def test_an_insertion_into_an_empty_workflow_is_refused():
    with pytest.raises(ValueError, match="the steps are none"):
        StepRegistry().insert_after("any", Step("a"))


def test_a_step_is_removed_by_name_and_one_that_is_not_there_is_no_error():
    registry = registry_of(Step("a"), Step("b"))

    registry.unregister("a")
    registry.unregister("a")
    registry.unregister("never")

    assert names(registry) == ["b"]


def test_a_removed_name_can_be_used_again():
    registry = registry_of(Step("a"))
    registry.unregister("a")
    registry.register(Step("a"))

    assert names(registry) == ["a"]


@pytest.mark.parametrize(
    "add",
    [
        lambda registry, step: registry.register(step),
        lambda registry, step: registry.insert_before("b", step),
        lambda registry, step: registry.insert_after("a", step),
    ],
)
def test_a_name_is_taken_only_once(add: Any):
    registry = registry_of(Step("a"), Step("b"))

    with pytest.raises(ValueError, match="'a' already"):
        add(registry, Step("a"))
    assert names(registry) == ["a", "b"]


def test_what_get_steps_returns_is_a_copy():
    registry = registry_of(Step("a"))
    registry.get_steps().clear()

    assert names(registry) == ["a"]


def test_a_registry_knows_its_weight_its_length_and_whether_it_is_empty():
    registry = registry_of(Step("a", 0.25), Step("b", 0.5))

    assert registry.total_weight == 0.75
    assert (len(registry), bool(registry)) == (2, True)
    assert (len(StepRegistry()), bool(StepRegistry()), StepRegistry().total_weight) == (0, False, 0)


def test_a_step_without_its_three_parts_cannot_be_made():
    with pytest.raises(TypeError, match=r"execute.*name.*progress_weight"):
        BaseStep()


def test_a_step_runs_unless_it_says_otherwise_and_needs_no_rollback(diary: Diary):
    class Least(BaseStep[Diary]):
        name = "least"
        progress_weight = 1.0

        def execute(self, context: Diary) -> StepResult:
            return StepResult()

    assert Least().can_skip(diary) is False
    assert Least().rollback(diary, StepResult()) is None


def test_a_result_says_success_and_nothing_else_by_default():
    result = StepResult()

    assert (result.success, result.data, result.error) == (True, {}, None)
    assert (result.rollback_data, result.skipped) == ({}, False)
    assert StepResult().data is not result.data


# The order of work


def test_steps_run_in_order_over_one_context(diary: Diary):
    summary = Orchestrator(registry_of(Step("a"), Step("b"), Step("c")), diary).execute()

    assert diary.done == ["a", "b", "c"]
    assert summary == {"success": True, "steps_executed": 3, "steps_total": 3}


def test_every_result_is_kept_in_order(diary: Diary):
    steps = registry_of(
        Step("a", work=lambda _: StepResult(data={"n": 1})),
        Step("b", work=lambda _: StepResult(data={"n": 2})),
    )
    Orchestrator(steps, diary).execute()

    assert [result.data["n"] for result in diary.step_results] == [1, 2]


def test_no_steps_are_a_success(diary: Diary):
    summary = Orchestrator(StepRegistry(), diary).execute()

    assert summary == {"success": True, "steps_executed": 0, "steps_total": 0}


def test_a_skipped_step_does_not_count_and_leaves_a_result(diary: Diary, logger: ListLogger):
    steps = registry_of(Step("a"), Step("b", skip=lambda _: True), Step("c"))

    summary = Orchestrator(steps, diary).execute()

    assert diary.done == ["a", "c"]
    assert summary == {"success": True, "steps_executed": 2, "steps_total": 3}
    assert [(result.success, result.skipped) for result in diary.step_results] == [
        (True, False),
        (True, True),
        (True, False),
    ]
    ended = [event for event in logger.events if isinstance(event, StepFinished)]
    assert [(event.step, event.skipped) for event in ended] == [("a", False), ("b", True), ("c", False)]


def test_whether_a_step_is_skipped_is_asked_when_its_turn_comes(diary: Diary):
    steps = registry_of(Step("a"), Step("b", skip=lambda context: "a" in context.done))

    assert Orchestrator(steps, diary).execute()["steps_executed"] == 1


def test_before_each_step_its_name_and_the_context_are_handed_over(diary: Diary):
    seen = []
    steps = registry_of(Step("a"), Step("b", skip=lambda _: True))

    Orchestrator(steps, diary, before_step=lambda name, context: seen.append((name, context))).execute()

    assert seen == [("a", diary), ("b", diary)]


def test_an_orchestrator_can_run_twice_and_counts_each_time_anew(diary: Diary):
    orchestrator = Orchestrator(registry_of(Step("a")), diary)
    orchestrator.execute()

    assert orchestrator.execute()["steps_executed"] == 1


# Progress


def progress_of(diary: Diary, *steps: BaseStep[Any]) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    Orchestrator(registry_of(*steps), diary, lambda current, total: told.append((current, total))).execute()
    return told


def test_progress_is_the_share_of_the_weights_so_far(diary: Diary):
    assert progress_of(diary, Step("a", 0.2), Step("b", 0.5), Step("c", 0.3)) == [
        (20, 100),
        (70, 100),
        (100, 100),
    ]


def test_weights_need_not_add_up_to_one(diary: Diary):
    assert progress_of(diary, Step("a", 3), Step("b", 1)) == [(75, 100), (100, 100)]


def test_progress_ends_at_a_hundred_however_the_weights_are_rounded(diary: Diary):
    assert progress_of(diary, *(Step(str(index), 0.1) for index in range(7)))[-1] == (100, 100)


def test_a_skipped_step_moves_the_progress_on(diary: Diary):
    assert progress_of(diary, Step("a", 0.5), Step("b", 0.5, skip=lambda _: True)) == [(50, 100), (100, 100)]


def test_steps_without_any_weight_count_the_same(diary: Diary):
    assert progress_of(diary, Step("a", 0), Step("b", 0)) == [(50, 100), (100, 100)]


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, -math.inf])
def test_a_weight_that_makes_no_sense_counts_nothing(diary: Diary, logger: ListLogger, weight: float):
    assert progress_of(diary, Step("a", weight), Step("b", 0.5)) == [(0, 100), (100, 100)]
    shares = [(event.start, event.share) for event in logger.events if isinstance(event, StepStarted)]
    assert shares == [(0.0, 0.0), (0.0, 1.0)]


def test_a_failed_step_moves_no_progress(diary: Diary):
    told: list[int] = []
    steps = registry_of(Step("a", 0.5), Step("b", 0.5, work=fail("no")))

    with pytest.raises(StepFailed):
        Orchestrator(steps, diary, lambda current, total: told.append(current)).execute()

    assert told == [50]


def test_the_events_place_each_step_in_the_whole(diary: Diary, logger: ListLogger):
    Orchestrator(registry_of(Step("a", 1), Step("b", 3)), diary).execute()

    assert [event for event in logger.events if isinstance(event, StepStarted)] == [
        StepStarted(step="a", index=1, total=2, start=0.0, share=0.25),
        StepStarted(step="b", index=2, total=2, start=0.25, share=0.75),
    ]


# The category of what a step reports


def test_what_a_step_reports_is_of_its_own_category(diary: Diary, logger: ListLogger):
    def work(context: Diary) -> StepResult:
        context.set_progress(1, 4)
        context.set_metrics({"loss": 1})
        context.log("seen", {"n": 1})
        context.log_message("Half way.")
        context.runtime_ctx.set_progress(2, 4)
        context.runtime_ctx.set_metrics({"loss": 2})
        return StepResult()

    Orchestrator(registry_of(Step("train", work=work)), diary).execute()

    told = [event for event in logger.events if isinstance(event, Progress | Metrics | Log | Message)]
    assert len(told) == 6
    assert {event.category for event in told} == {"train"}


@pytest.mark.parametrize("keyword", ["category", "step"])
def test_a_category_of_the_steps_own_choice_wins_under_both_names(
    diary: Diary, logger: ListLogger, keyword: str
):
    def work(context: Diary) -> StepResult:
        context.set_progress(1, 4, **{keyword: "mine"})
        context.set_metrics({"loss": 1}, **{keyword: "mine"})
        context.set_progress(2, 4, "mine")
        context.set_metrics({"loss": 2}, "mine")
        return StepResult()

    Orchestrator(registry_of(Step("train", work=work)), diary).execute()

    told = [event.category for event in logger.events if isinstance(event, Progress | Metrics)]
    assert told == ["mine"] * 4


def test_a_message_of_a_step_takes_a_level_a_language_and_a_step_of_its_own(diary: Diary, logger: ListLogger):
    diary.current_step = "train"
    diary.log_message({"en": "Done.", "de": "Fertig."}, LogLevel.SUCCESS, language="de", step="other")
    diary.log("odd", {}, level=LogLevel.WARNING)

    assert logger.events[0] == Message(text="Fertig.", level="success", category="other")
    assert logger.events[1].level == "warning"


def test_the_current_step_is_the_contexts_and_the_loggers_and_ends_with_the_workflow(
    diary: Diary, logger: ListLogger
):
    seen = []

    def look(context: Diary) -> StepResult:
        seen.append((context.current_step, logger.get_step()))
        return StepResult()

    Orchestrator(registry_of(Step("a", work=look), Step("b", work=look)), diary).execute()

    assert seen == [("a", "a"), ("b", "b")]
    assert (diary.current_step, logger.get_step()) == (None, None)


def test_the_current_step_ends_with_a_failure_too(diary: Diary, logger: ListLogger):
    with pytest.raises(StepFailed):
        Orchestrator(registry_of(Step("a", work=fail("no"))), diary).execute()

    assert (diary.current_step, logger.get_step()) == (None, None)


def test_a_rollback_reports_under_the_name_of_its_step(diary: Diary, logger: ListLogger):
    steps = registry_of(
        Step("a", undo=lambda context, _: context.log("undone", {})), Step("b", work=fail("no"))
    )
    with pytest.raises(StepFailed):
        Orchestrator(steps, diary).execute()

    (entry,) = [event for event in logger.events if isinstance(event, Log)]
    assert entry.category == "a"


# Failure and rollback


def never(context: Diary) -> bool:
    raise OSError("cannot tell")


FAILURES: dict[str, tuple[Step, str]] = {
    "execute raises": (Step("bad", work=fail("no space")), "no space"),
    "execute returns a failure": (
        Step("bad", work=lambda _: StepResult(success=False, error="no space")),
        "no space",
    ),
    "execute returns a failure without a reason": (
        Step("bad", work=lambda _: StepResult(success=False)),
        "no reason was given",
    ),
    "execute raises without a text": (Step("bad", work=lambda _: next(iter(()))), "StopIteration"),
    "execute returns nothing": (Step("bad", work=lambda _: None), "returned NoneType, not a StepResult"),
    "execute returns a dict": (Step("bad", work=lambda _: {}), "returned dict, not a StepResult"),
}


@pytest.mark.parametrize("way", FAILURES)
def test_a_failure_rolls_back_in_reverse_order_the_failing_step_included(diary: Diary, way: str):
    bad, reason = FAILURES[way]
    steps = registry_of(Step("a"), Step("b"), bad, Step("never"))

    with pytest.raises(RuntimeError) as caught:
        Orchestrator(steps, diary).execute()

    assert diary.done == ["a", "b", "bad", "undo bad", "undo b", "undo a"]
    assert str(caught.value).startswith("Step 'bad' failed: ")
    assert reason in str(caught.value)
    assert [result.success for result in diary.step_results] == [True, True, False]


def test_a_step_that_cannot_tell_whether_to_skip_fails_and_has_nothing_to_undo(diary: Diary):
    steps = registry_of(Step("a"), Step("bad", skip=never))

    with pytest.raises(StepFailed, match="Step 'bad' failed: cannot tell"):
        Orchestrator(steps, diary).execute()

    assert diary.done == ["a", "undo a"]
    assert [result.success for result in diary.step_results] == [True, False]


def test_a_failure_before_a_step_fails_it(diary: Diary):
    def before(name: str, context: Diary) -> None:
        if name == "b":
            raise OSError("the disk is gone")

    with pytest.raises(StepFailed, match="Step 'b' failed: the disk is gone"):
        Orchestrator(registry_of(Step("a"), Step("b")), diary, before_step=before).execute()

    assert diary.done == ["a", "undo a"]


def test_a_progress_callback_that_fails_rolls_back_what_ran(diary: Diary):
    with pytest.raises(ValueError, match="no bar"):
        Orchestrator(registry_of(Step("a"), Step("b")), diary, fail("no bar")).execute()

    assert diary.done == ["a", "undo a"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, RunStopped])
def test_what_ends_the_whole_process_rolls_back_too_and_goes_on(diary: Diary, kind: type[BaseException]):
    def leave(context: Diary) -> StepResult:
        raise kind

    with pytest.raises(kind):
        Orchestrator(registry_of(Step("a"), Step("b", work=leave)), diary).execute()

    assert diary.done == ["a", "b", "undo b", "undo a"]
    assert [result.success for result in diary.step_results] == [True, False]


def test_a_skipped_step_is_not_rolled_back(diary: Diary):
    steps = registry_of(Step("a"), Step("b", skip=lambda _: True), Step("bad", work=fail("no")))

    with pytest.raises(StepFailed):
        Orchestrator(steps, diary).execute()

    assert diary.done == ["a", "bad", "undo bad", "undo a"]


def test_each_rollback_is_given_the_result_of_its_own_step(diary: Diary):
    seen: dict[str, StepResult] = {}

    def keep(name: str) -> Callable[[Diary, StepResult], None]:
        return lambda context, result: seen.__setitem__(name, result)

    steps = registry_of(
        Step("a", work=lambda _: StepResult(rollback_data={"files": ["x"]}), undo=keep("a")),
        Step(
            "bad", work=lambda _: StepResult(success=False, rollback_data={"files": ["y"]}), undo=keep("bad")
        ),
    )
    with pytest.raises(StepFailed):
        Orchestrator(steps, diary).execute()

    assert seen["a"].rollback_data == {"files": ["x"]}
    assert seen["bad"].rollback_data == {"files": ["y"]}
    assert not seen["bad"].success


def test_a_step_that_raised_is_rolled_back_with_a_result_that_says_why(diary: Diary):
    seen = []
    steps = registry_of(Step("bad", work=fail("no space"), undo=lambda _, result: seen.append(result)))

    with pytest.raises(StepFailed):
        Orchestrator(steps, diary).execute()

    assert [(result.success, result.error) for result in seen] == [(False, "no space")]


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_rollback_that_fails_keeps_no_other_from_running_and_is_recorded(
    diary: Diary, logger: ListLogger, kind: type[BaseException]
):
    def break_down(context: Diary, result: StepResult) -> None:
        raise kind("locked")

    steps = registry_of(
        Step("a"), Step("b", undo=break_down), Step("c", undo=break_down), Step("bad", work=fail("no"))
    )
    with pytest.raises(StepFailed) as caught:
        Orchestrator(steps, diary).execute()

    assert diary.done[4:] == ["undo bad", "undo c", "undo b", "undo a"]
    assert [line.partition(":")[0] for line in diary.errors] == [
        "Rollback failed for step 'c'",
        "Rollback failed for step 'b'",
    ]
    assert caught.value.errors == caught.value.details["errors"] == diary.errors
    undone = [(event.step, bool(event.error)) for event in logger.events if isinstance(event, StepRolledBack)]
    assert undone == [("bad", False), ("c", True), ("b", True), ("a", False)]
    assert any(isinstance(event, Message) and "locked" in event.text for event in logger.events)


def test_a_failure_keeps_its_cause(diary: Diary):
    with pytest.raises(StepFailed) as caught:
        Orchestrator(registry_of(Step("bad", work=fail("no space"))), diary).execute()

    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.step == "bad"


def test_a_second_attempt_undoes_nothing_of_the_first(diary: Diary):
    attempts = iter([StepResult(success=False), StepResult()])
    orchestrator = Orchestrator(registry_of(Step("a"), Step("b", work=lambda _: next(attempts))), diary)
    with pytest.raises(StepFailed):
        orchestrator.execute()
    diary.done.clear()

    orchestrator.execute()

    assert diary.done == ["a", "b"]


# A stop, which can come at any moment


def test_a_stop_rolls_back_even_a_step_that_reports_nothing(diary: Diary):
    stop = diary.runtime_ctx.stop
    begun = threading.Event()

    def busy(context: Diary) -> StepResult:
        begun.set()
        while True:
            pass

    def ask() -> None:
        begun.wait()
        stop.request()

    asker = threading.Thread(target=ask)
    asker.start()
    with pytest.raises(RunStopped), stop.armed():
        Orchestrator(registry_of(Step("a"), Step("busy", work=busy)), diary).execute()
    asker.join()

    assert diary.done == ["a", "busy", "undo busy", "undo a"]


def test_a_stop_that_comes_during_a_rollback_lets_it_end(diary: Diary):
    stop = diary.runtime_ctx.stop

    def undo(context: Diary, result: StepResult) -> None:
        stop.request()
        context.set_progress(1, 1)
        context.done.append("undone")

    steps = registry_of(Step("a"), Step("b", undo=undo), Step("bad", work=fail("no")))
    with pytest.raises(StepFailed), stop.armed():
        Orchestrator(steps, diary).execute()

    assert diary.done == ["a", "b", "bad", "undo bad", "undo b", "undone", "undo a"]


def run_stopped_at_line(number: int) -> tuple[list[str], int, bool]:
    """Run a failing workflow with a stop at the `number`-th line of our own code that it executes.

    Returns the diary, how many lines there were, and whether the stop came out.
    """
    diary = Diary(RuntimeContext(ListLogger()))
    stop = diary.runtime_ctx.stop
    orchestrator = Orchestrator(registry_of(Step("a"), Step("bad", work=fail("no"))), diary)
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith(("orchestrator.py", "synapse_core/stop.py")):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                stop.request()
        return trace

    is_stopped = False
    before = sys.gettrace()
    try:
        with stop.armed():
            sys.settrace(trace)
            try:
                orchestrator.execute()
            finally:
                sys.settrace(before)
    except RunStopped:
        is_stopped = True
    except StepFailed:
        is_stopped = False
    return diary.done, lines, is_stopped


def test_wherever_a_stop_strikes_all_that_was_begun_is_undone_once():
    _, lines, _ = run_stopped_at_line(0)
    stopped = 0
    for number in range(1, lines + 1):
        done, _, is_stopped = run_stopped_at_line(number)
        begun = [entry for entry in done if not entry.startswith("undo ")]
        undone = [entry.removeprefix("undo ") for entry in done if entry.startswith("undo ")]
        # Between being listed and being begun, a step may be undone although it did nothing yet.
        assert [entry for entry in undone if entry in begun] == begun[::-1], (number, done)
        assert len(set(undone)) == len(undone), (number, done)
        stopped += is_stopped

    assert 20 < stopped < lines


# Steps around steps


def test_logging_tells_the_start_and_the_end_under_the_wrappers_name(diary: Diary, logger: ListLogger):
    Orchestrator(registry_of(LoggingStep(Step("resize", 0.7))), diary).execute()

    start, end = [event for event in logger.events if isinstance(event, Log)]
    assert (start.event, start.data) == ("step_start", {"step": "logged_resize"})
    assert end.event == "step_end"
    assert end.data.keys() == {"step", "elapsed", "success", "skipped"}
    assert (end.data["step"], end.data["success"], end.data["skipped"]) == ("logged_resize", True, False)
    assert end.data["elapsed"] == round(end.data["elapsed"], 3) >= 0


@pytest.mark.parametrize("work", [fail("no"), lambda _: StepResult(success=False, error="no")])
def test_logging_tells_the_end_of_a_step_that_fails_and_its_rollback(
    diary: Diary, logger: ListLogger, work: Any
):
    with pytest.raises(StepFailed, match="Step 'logged_resize' failed: no"):
        Orchestrator(registry_of(LoggingStep(Step("resize", work=work))), diary).execute()

    entries = [event for event in logger.events if isinstance(event, Log)]
    assert [entry.event for entry in entries] == ["step_start", "step_end", "step_rollback"]
    assert entries[1].data["success"] is False
    assert entries[2].data == {"step": "logged_resize"}
    assert diary.done == ["resize", "undo resize"]


def test_timing_adds_the_duration_to_the_data(diary: Diary):
    step = TimingStep(Step("resize", work=lambda _: StepResult(data={"count": 3})))
    Orchestrator(registry_of(step), diary).execute()

    (result,) = diary.step_results
    assert result.data["count"] == 3
    assert result.data["duration_seconds"] == round(result.data["duration_seconds"], 6) >= 0


def test_timing_measures_the_step_and_not_its_surroundings(diary: Diary):
    waited = threading.Event()
    step = TimingStep(Step("wait", work=lambda _: StepResult(data={"set": waited.wait(0.05)})))
    Orchestrator(registry_of(step), diary).execute()

    assert 0.05 <= diary.step_results[0].data["duration_seconds"] < 5


@pytest.mark.parametrize(
    ("wrapped", "name"),
    [
        (lambda step: LoggingStep(step), "logged_resize"),
        (lambda step: TimingStep(step), "timed_resize"),
        (lambda step: LoggingStep(TimingStep(step)), "logged_timed_resize"),
        (lambda step: TimingStep(LoggingStep(step)), "timed_logged_resize"),
    ],
)
def test_wrappers_compose_and_hand_everything_on(diary: Diary, wrapped: Any, name: str):
    result = StepResult(rollback_data={"files": []})
    undone = []
    step = wrapped(
        Step("resize", 0.7, lambda _: result, lambda _: False, lambda _, given: undone.append(given))
    )
    steps = registry_of(step, Step("bad", work=fail("no")))

    with pytest.raises(StepFailed):
        Orchestrator(steps, diary).execute()

    assert (step.name, step.progress_weight) == (name, 0.7)
    assert diary.done == ["resize", "bad", "undo bad", "undo resize"]
    assert undone == [result]


@pytest.mark.parametrize("wrapper", [LoggingStep, TimingStep])
def test_a_wrapped_step_is_skipped_where_the_step_itself_would_be(diary: Diary, wrapper: Any):
    summary = Orchestrator(registry_of(wrapper(Step("a", skip=lambda _: True))), diary).execute()

    assert summary["steps_executed"] == 0
    assert diary.done == []


def test_a_validation_that_passes_lets_the_workflow_go_on(diary: Diary):
    step = ValidationStep(lambda context: (True, None))

    Orchestrator(registry_of(step, Step("a")), diary).execute()

    assert (step.name, step.progress_weight) == ("validate", 0.05)
    assert diary.done == ["a"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [((False, "input_dir is required"), "input_dir is required"), ((False, None), "pass")],
)
def test_a_validation_that_does_not_pass_fails_the_workflow_with_its_reason(
    diary: Diary, answer: tuple[bool, str | None], reason: str
):
    step = ValidationStep(validator=lambda context: answer, name="validate_input", progress_weight=0.2)

    with pytest.raises(StepFailed, match=f"Step 'validate_input' failed: .*{reason}"):
        Orchestrator(registry_of(Step("a"), step, Step("never")), diary).execute()

    assert diary.done == ["a", "undo a"]


def test_a_validator_sees_the_context(diary: Diary):
    step = ValidationStep(lambda context: ("a" in context.done, "a did not run"))

    assert Orchestrator(registry_of(Step("a"), step), diary).execute()["success"]


# Contexts


@dataclass
class Required(BaseStepContext):
    """A context with a field that has no default."""

    config_path: str
    done: list[str] = field(default_factory=list)


def test_a_context_can_have_fields_that_must_be_given(logger: ListLogger):
    runtime = RuntimeContext(logger)
    context = Required(runtime, "config.yaml", ["before"], errors=["an error"])

    assert (context.config_path, context.done, context.errors) == ("config.yaml", ["before"], ["an error"])
    assert (context.step_results, context.current_step) == ([], None)
    with pytest.raises(TypeError, match="config_path"):
        Required(runtime)  # type: ignore[call-arg]
    # The context itself can be made by position, as ever.
    assert BaseStepContext(runtime, [], ["an error"], "a").current_step == "a"


# In an action


class Sum(BaseAction[Any]):
    """A workflow whose result is its own."""

    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        registry.register(Step("a"))
        registry.register(Step("b"))

    def create_context(self) -> Diary:
        return Diary(self.ctx)

    def get_result(self, context: Diary, summary: dict[str, Any]) -> Any:
        return {**summary, "done": context.done}


def test_an_action_with_steps_runs_them_and_returns_their_result(logger: ListLogger):
    result = Sum.dispatch({}, RuntimeContext(logger))

    assert result == {"success": True, "steps_executed": 2, "steps_total": 2, "done": ["a", "b"]}
