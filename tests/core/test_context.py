"""What an action can tell and ask through its context."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from synapse_core import BaseAction, PluginEnvironment, RuntimeContext
from synapse_core.enums import LogLevel
from synapse_core.errors import RunStopped
from synapse_core.events import AnyEvent, Artifact, Log, Message, Metrics, Progress
from synapse_core.loggers import BaseLogger, NoOpLogger
from synapse_core.steps import BaseStepContext


class ListLogger(BaseLogger):
    """Keeps the events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[AnyEvent] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)


class Idle(BaseAction[Any]):
    def execute(self) -> None:
        return


@pytest.fixture
def context() -> RuntimeContext:
    return RuntimeContext(ListLogger())


def told(context: RuntimeContext) -> list[Any]:
    return context.logger.events


def test_a_context_needs_a_logger_only():
    context = RuntimeContext(NoOpLogger())

    assert context.env.to_dict() == {}
    assert (context.job_id, context.client, context.agent_client) == (None, None, None)
    assert (context.checkpoint, context.language) == (None, None)


def test_an_entry_has_a_name_data_a_file_and_a_level(context: RuntimeContext):
    context.log("seen", {"n": 1})
    context.log("seen", {"n": 2}, "plot.png", LogLevel.DANGER)

    assert told(context) == [
        Log(event="seen", data={"n": 1}),
        Log(event="seen", data={"n": 2}, file="plot.png", level="danger"),
    ]


# An action, a step's context and the runtime context have the same calls.
FACES = {
    "runtime context": lambda context: context,
    "action": lambda context: Idle({}, context),
    "step context": lambda context: BaseStepContext(context),
}


@pytest.mark.parametrize("face", FACES)
def test_both_names_of_a_category_are_taken_everywhere(context: RuntimeContext, face: str):
    reporter: Any = FACES[face](context)

    for call, first in ((reporter.set_progress, (1, 2)), (reporter.set_metrics, ({"loss": 1},))):
        call(*first, "mine")
        call(*first, step="mine")
        call(*first, category="mine")

    assert [type(event) for event in told(context)] == [Progress] * 3 + [Metrics] * 3
    assert {event.category for event in told(context)} == {"mine"}


@pytest.mark.parametrize("face", FACES)
def test_a_category_may_be_left_out_everywhere(context: RuntimeContext, face: str):
    reporter: Any = FACES[face](context)
    reporter.set_progress(1, 2)
    reporter.set_metrics({"loss": 1})

    assert told(context)[0].category is None
    assert told(context)[1].values == {"loss": 1}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("level", [LogLevel.WARNING, "warning", "WARNING"])
def test_a_message_has_a_level_by_member_or_by_name(context: RuntimeContext, face: str, level: Any):
    reporter: Any = FACES[face](context)
    reporter.log_message("Hot.", level)
    reporter.log_message("Hot.", level=level)
    reporter.log_message("Fine.")

    assert [(event.text, event.level) for event in told(context)] == [
        ("Hot.", "warning"),
        ("Hot.", "warning"),
        ("Fine.", "info"),
    ]


@pytest.mark.parametrize("face", FACES)
def test_the_former_name_of_the_level_works_with_a_warning(context: RuntimeContext, face: str):
    with pytest.warns(DeprecationWarning, match="level="):
        FACES[face](context).log_message("Hot.", context=LogLevel.DANGER)  # type: ignore[attr-defined]

    assert told(context) == [Message(text="Hot.", level="danger")]


def test_a_level_that_does_not_exist_is_refused(context: RuntimeContext):
    with pytest.raises(ValueError, match="no log level 'loud'"):
        context.log_message("Hot.", "loud")


def test_the_names_in_a_message_are_filled(context: RuntimeContext):
    context.log_message("Epoch {epoch} of {total}: {loss:.2f}", epoch=1, total=3, loss=0.123)

    assert told(context)[0].text == "Epoch 1 of 3: 0.12"


@pytest.mark.parametrize(
    "template",
    ["{missing}", "{epoch} {0}", "{epoch.nothing}", "{epoch[0]}", "{epoch:.2f}", "{ {epoch}", "{epoch!z}"],
)
def test_a_text_that_cannot_be_filled_is_told_as_it_is(context: RuntimeContext, template: str):
    context.log_message(template, epoch=[])

    assert told(context) == [Message(text=template)]


def test_braces_are_left_alone_where_there_is_nothing_to_fill(context: RuntimeContext):
    context.log_message('{"a": 1} {x}')

    assert told(context)[0].text == '{"a": 1} {x}'


TEXTS = {"en": "Done.", "de": "Fertig.", "ko": "완료."}


def test_the_language_is_the_calls_then_the_contexts_then_the_environments_then_english(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("SYNAPSE_LANGUAGE", raising=False)
    context = RuntimeContext(ListLogger())
    context.log_message(TEXTS)
    monkeypatch.setenv("SYNAPSE_LANGUAGE", "ko")
    context.log_message(TEXTS)
    context.language = "de"
    context.log_message(TEXTS)
    context.log_message(TEXTS, language="en")
    context.log_message(TEXTS, language="fr")

    assert [event.text for event in told(context)] == ["Done.", "완료.", "Fertig.", "Done.", "Fertig."]


def test_a_text_in_none_of_the_languages_is_told_in_the_first_there_is(context: RuntimeContext):
    context.log_message({"fr": "Fini.", "it": "Finito."})
    context.log_message({})

    assert [event.text for event in told(context)] == ["Fini.", ""]


def test_a_metric_is_an_entry_and_a_value_of_its_category(context: RuntimeContext):
    context.log_metric("train", "loss", 0.5, epoch=3)

    assert told(context) == [
        Log(event="metric", data={"category": "train", "key": "loss", "value": 0.5, "metrics": {"epoch": 3}}),
        Metrics(category="train", values={"loss": 0.5, "epoch": 3}),
    ]


def test_a_visualization_is_an_entry_with_its_file(context: RuntimeContext):
    context.log_visualization("validation", "batch", 2, "val_2.jpg", epoch=7)

    data = {"category": "validation", "group": "batch", "index": 2, "epoch": 7}
    assert told(context) == [Log(event="visualization", data=data, file="val_2.jpg")]


def test_a_developers_event_is_told_at_the_lowest_level(context: RuntimeContext):
    context.log_dev_event("cache missed", {"key": "a"})
    context.log_dev_event("cache hit")

    assert told(context) == [
        Log(event="dev_event", data={"message": "cache missed", "key": "a"}, level="debug"),
        Log(event="dev_event", data={"message": "cache hit"}, level="debug"),
    ]


def test_the_end_is_told(context: RuntimeContext):
    context.end_log()

    (event,) = told(context)
    assert "run complete" in event.text.lower()


@pytest.mark.parametrize(
    "call",
    [
        lambda context: context.log("x", {}),
        lambda context: context.set_progress(1, 2),
        lambda context: context.set_metrics({"a": 1}),
        lambda context: context.log_message("x"),
        lambda context: context.log_metric("a", "b", 1),
        lambda context: context.log_visualization("a", "b", 1, "c"),
        lambda context: context.log_dev_event("x"),
        lambda context: context.raise_if_stopped(),
    ],
)
def test_a_stop_reaches_an_action_at_any_call(context: RuntimeContext, call: Any):
    call(context)
    before = len(told(context))
    context.stop.request()

    with pytest.raises(RunStopped):
        call(context)
    assert len(told(context)) == before


def test_the_environment_is_the_given_one():
    context = RuntimeContext(NoOpLogger(), PluginEnvironment({"DEBUG": "yes"}), "job-1")

    assert context.env.get_bool("DEBUG") is True
    assert context.job_id == "job-1"


def test_a_recorded_runs_artifacts_lie_in_its_folder(tmp_path: Path):
    context = RuntimeContext(ListLogger(), run_folder=tmp_path / "run")
    (context.artifacts_dir / "deep").mkdir()
    (context.artifacts_dir / "deep" / "plot.png").write_bytes(b"12345")

    context.add_artifact("deep/plot.png")
    context.add_artifact(context.artifacts_dir / "deep" / "plot.png", "Loss")

    assert context.artifacts_dir == tmp_path / "run" / "artifacts"
    assert told(context) == [
        Artifact(name="plot.png", uri="artifacts/deep/plot.png", size_bytes=5),
        Artifact(name="Loss", uri="artifacts/deep/plot.png", size_bytes=5),
    ]


def test_an_artifact_from_elsewhere_keeps_its_place(tmp_path: Path):
    (tmp_path / "model.pt").write_bytes(b"123")
    context = RuntimeContext(ListLogger(), run_folder=tmp_path / "run")

    context.add_artifact(tmp_path / "model.pt")

    assert told(context) == [Artifact(name="model.pt", uri=str(tmp_path / "model.pt"), size_bytes=3)]


def test_an_artifact_that_is_not_there_is_told(tmp_path: Path):
    context = RuntimeContext(ListLogger(), run_folder=tmp_path / "run")

    with pytest.raises(FileNotFoundError):
        context.add_artifact("nowhere.png")
    assert told(context) == []


def test_outside_a_recorded_run_artifacts_go_to_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: RuntimeContext
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    folder = context.artifacts_dir

    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)
    assert context.artifacts_dir == folder
