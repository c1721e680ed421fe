"""Pipelines: what is checked before anything runs, pipelines in this process, and scripts that watch them."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from pipeline_plugins import write_plugins
from pydantic import AliasChoices, BaseModel, Field
from rich.console import Console

from synapse_core import BaseAction
from synapse_core.context import RuntimeContext
from synapse_core.enums import ActionState, ActionStatus, RunState, RunStatus
from synapse_core.errors import (
    ActionFailed,
    ActionNotFoundError,
    ExecutionError,
    InvalidRequest,
    PluginNotFound,
    RunNotFound,
    SchemaIncompatibleError,
    ValidationError,
)
from synapse_core.events import ActionFinished, ActionStarted, Artifact, Metrics, Progress, Stopped, Succeeded
from synapse_core.executors import ProcessExecutor
from synapse_core.executors.ray import RayPipelineExecutor
from synapse_core.loggers import NoOpLogger
from synapse_core.pipelines import (
    ActionPipeline,
    Checkpoint,
    PipelineAction,
    PipelineContext,
    PipelineProgress,
    RetryPolicy,
)
from synapse_core.pipelines.display import display_progress, display_progress_async, print_progress_summary
from synapse_core.pipelines.plan import find_named, plan_pipeline
from synapse_core.registry import Registry
from synapse_core.runs import ActionEntry, Run, Runs
from synapse_core.runs.run import fold
from synapse_core.types import COCODataset, Dataset, Model, YOLODataset


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return write_plugins(tmp_path / "plugins")


@pytest.fixture
def plan(plugins: Path, home: Path):
    """Plan a pipeline of the test's plugins; returns the request."""
    registry = Registry([plugins], home / "described")
    runs = Runs(home, {"local": ProcessExecutor()})

    def make(*actions, mode="auto", **params):
        asked = [PipelineAction(each) if isinstance(each, str) else each for each in actions]
        return plan_pipeline(
            lambda action: find_named(registry, runs.modes, action.action), asked, params, runs, mode=mode
        )

    yield make
    assert runs.list()[0] == [], "planning records nothing"
    registry.close()
    runs.close()


# What is checked before anything runs


def test_a_plan_is_one_request_with_an_entry_an_action(plan):
    request = plan("parts/add", PipelineAction("others/double", "twice", params={"total": 3}), total=1)

    first, second = request.pipeline
    assert (first.name, first.after, first.request.plugin) == ("add", (), "parts")
    assert (second.name, second.after, second.request.params) == ("twice", ("add",), {"total": 3})
    assert request.params == {"total": 1}
    assert first.takes == ("total", "by", "counter")
    assert request.resources.num_cpus == 0, "the coordinator takes no CPU from its actions"


def test_types_that_do_not_fit_are_named_with_both_sides(plan):
    with pytest.raises(SchemaIncompatibleError) as refused:
        plan("parts/make", "parts/take_model")

    assert refused.value.message == (
        "'make' (parts/make) gives yolo_dataset, but 'take_model' (parts/take_model) takes model."
    )


def test_types_are_compared_along_the_edges_of_the_graph_only(plan):
    plan("parts/make", PipelineAction("parts/take_model", after=()))


def test_a_required_parameter_that_nobody_gives_is_named_with_its_action(plan):
    with pytest.raises(ValidationError) as refused:
        plan("parts/add", "parts/read", total=1)

    assert [problem["path"] for problem in refused.value.problems] == ["read.path"]


def test_what_an_earlier_action_promises_or_may_promise_is_not_missing(plan):
    plan("parts/make", "parts/read")
    plan("parts/open", "parts/add", "parts/read")
    with pytest.raises(ValidationError, match=r"read\.path"):
        plan("parts/make", PipelineAction("parts/read", after=()))


def test_every_wrong_value_is_told_at_once_and_a_name_that_nobody_takes_too(plan):
    with pytest.raises(ValidationError) as refused:
        plan("parts/add", PipelineAction("parts/add", params={"by": "x", "totl": 1}), total="y", cunter="z")

    problems = {problem["path"]: problem for problem in refused.value.problems}
    assert set(problems) == {"add.total", "add-2.total", "add-2.by", "add-2.totl", "cunter"}
    assert problems["cunter"]["did_you_mean"] == "counter"
    assert problems["add-2.totl"]["did_you_mean"] == "total"


@pytest.mark.parametrize(
    ("actions", "error", "words"),
    [
        (["prts/add"], PluginNotFound, "Did you mean parts"),
        (["parts/ad"], ActionNotFoundError, "it has add"),
        (["add"], InvalidRequest, "'plugin/action'"),
        ([], InvalidRequest, "at least one"),
        ([PipelineAction("parts/add", "a"), PipelineAction("parts/add", "a")], InvalidRequest, "'a'"),
        ([PipelineAction("parts/add", "../a")], InvalidRequest, "cannot be the name"),
        (
            [PipelineAction("parts/add", "one"), PipelineAction("parts/add", after=("oen",))],
            InvalidRequest,
            "Did you mean one",
        ),
        (
            [
                PipelineAction("parts/add", "a", after=("c",)),
                PipelineAction("parts/add", "b"),
                PipelineAction("parts/add", "c"),
            ],
            InvalidRequest,
            "in a circle: a after c after b after a",
        ),
        ([PipelineAction("parts/add", after=("add",))], InvalidRequest, "add after add"),
        ([PipelineAction("parts/add", retry=RetryPolicy(max_attempts=0))], InvalidRequest, "max_attempts"),
        ([PipelineAction("parts/add", timeout_seconds=-1)], InvalidRequest, "above 0"),
        ([PipelineAction("parts/add", resources={"gpus": 1})], InvalidRequest, "num_gpus"),
    ],
)
def test_a_wrong_pipeline_is_told_what_is_wrong_with_it(plan, actions, error, words):
    with pytest.raises(error, match=words):
        plan(*actions, total=1)


def test_a_mode_in_which_pipelines_do_not_run_is_refused(plan):
    with pytest.raises(InvalidRequest, match="auto, local"):
        plan("parts/add", mode="task", total=1)


def test_entries_stand_after_those_that_they_depend_on_whatever_order_they_are_given_in(plan):
    request = plan(
        PipelineAction("parts/add", "last", after=("first",)),
        PipelineAction("parts/add", "first", after=()),
        total=1,
    )

    assert [entry.name for entry in request.pipeline] == ["first", "last"]


# Resuming what cannot be resumed


@pytest.fixture
def executor(plugins: Path, monkeypatch) -> Iterator[RayPipelineExecutor]:
    monkeypatch.setenv("SYNAPSE_PLUGIN_PATHS", str(plugins))
    with RayPipelineExecutor(mode="local", working_dir=plugins / "parts") as opened:
        yield opened


def test_only_an_ended_run_of_the_same_pipeline_can_be_resumed(executor, home, plugins):
    runs = Runs(home, {"local": ProcessExecutor()})
    pipeline = ActionPipeline(["add", "sleep"])
    with pytest.raises(RunNotFound):
        executor.submit(pipeline, {"total": 1}, resume_from="run-nothing")
    run_id = executor.submit(pipeline, {"total": 1})
    with pytest.raises(InvalidRequest, match="still goes on"):
        executor.submit(pipeline, {"total": 1}, resume_from=run_id)
    executor.cancel(run_id, force=True)
    with pytest.raises(InvalidRequest, match="add = parts/add; sleep = parts/sleep after add"):
        executor.submit(ActionPipeline(["sleep", "add"]), {"total": 1}, resume_from=run_id)
    assert len(runs.list()[0]) == 1, "nothing was created"
    runs.close()


def test_a_run_of_one_action_is_not_a_pipeline(local_lab):
    run = local_lab.run("greet")
    registry = local_lab.registry

    with pytest.raises(InvalidRequest, match="not a pipeline"):
        plan_pipeline(
            lambda action: find_named(registry, ["local"], action.action),
            [PipelineAction("hello/greet")],
            {},
            local_lab.runs,
            resume_from=run.run_id,
        )


# Pipelines in this process


class StartParams(BaseModel):
    start: int


class Number(BaseModel):
    number: int


class Begin(BaseAction[StartParams]):
    output_type = YOLODataset
    result_model = Number

    def execute(self) -> Number:
        return Number(number=self.params.start)


class NumberParams(BaseModel):
    number: int
    by: int = 1


class Increase(BaseAction[NumberParams]):
    input_type = Dataset
    result_model = Number

    def execute(self) -> dict[str, int]:
        self.set_progress(1, 1)
        return {"number": self.params.number + self.params.by}


class Deploy(BaseAction[NumberParams]):
    input_type = Model
    output_type = COCODataset

    def execute(self) -> str:
        return f"deployed {self.params.number}"


class Break(BaseAction[NumberParams]):
    def execute(self) -> None:
        raise KeyError("gone")


def test_a_pipeline_of_classes_runs_here_and_tells_how_far_it_is():
    told = []
    pipeline = ActionPipeline([Begin, Increase, Increase])

    result = pipeline.execute({"start": 1, "by": 5}, progress_callback=lambda *how: told.append(how))

    assert result == {"number": 11}
    assert told == [(0, 3, "Begin"), (1, 3, "Increase"), (2, 3, "Increase-2"), (3, 3, "complete")]


def test_a_context_that_is_given_is_the_one_that_the_actions_get():
    logger = NoOpLogger()

    ActionPipeline([Begin, Increase]).execute({"start": 1}, RuntimeContext(logger=logger))

    assert logger.get_progress() is not None


def test_actions_here_share_a_folder_as_well():
    class Leave(BaseAction[StartParams]):
        def execute(self) -> dict[str, str]:
            (self.ctx.pipeline_dir / "left").write_text("here")
            return {"left": str(self.ctx.pipeline_dir / "left")}

    left = Path(ActionPipeline([Leave]).execute({"start": 1})["left"])

    assert left.read_text() == "here"
    left.unlink()
    left.parent.rmdir()


def test_a_failure_here_is_a_runtime_error_that_names_the_action():
    with pytest.raises(RuntimeError, match="Action 'Break' failed") as failed:
        ActionPipeline([Begin, Break]).execute({"start": 1})

    assert isinstance(failed.value, ActionFailed)
    assert failed.value.code == "execution_failed"


def test_nothing_runs_here_where_a_parameter_is_missing():
    told = []

    with pytest.raises(ValidationError, match=r"Begin\.start"):
        ActionPipeline([Begin, Increase]).execute({}, progress_callback=lambda *how: told.append(how))
    assert told == []


def test_names_run_here_too(plugins, monkeypatch):
    monkeypatch.setenv("SYNAPSE_PLUGIN_PATHS", str(plugins))
    monkeypatch.setattr(sys, "path", [*sys.path])

    assert ActionPipeline(["parts/add", "others/double"]).execute({"total": 1}) == {"total": 4}
    for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
        del sys.modules[name]


def test_a_required_parameter_may_come_under_another_of_its_names():
    class Params(BaseModel):
        amount: int = Field(validation_alias=AliasChoices("amount", "number"))

    class Show(BaseAction[Params]):
        def execute(self) -> int:
            return self.params.amount

    assert ActionPipeline([Begin, Show]).execute({"start": 4}) == 4
    with pytest.raises(ValidationError, match="amount"):
        ActionPipeline([Show]).execute({})


def test_a_pipeline_tells_what_nobody_gives():
    assert ActionPipeline([Begin, Increase]).validate_initial_params({}) == ["Begin.start"]
    assert ActionPipeline([Increase]).validate_initial_params({"by": 1}) == ["Increase.number"]
    assert ActionPipeline([Begin, Increase]).validate_initial_params({"start": 1}) == []


def test_a_pipeline_without_actions_is_a_value_error():
    with pytest.raises(ValueError, match="at least one"):
        ActionPipeline([])


def test_types_that_do_not_fit_are_a_warning_and_strictly_an_error(caplog):
    with caplog.at_level(logging.WARNING):
        ActionPipeline([Begin, Deploy])
    assert "gives yolo_dataset" in caplog.text
    with pytest.raises(SchemaIncompatibleError, match="takes model"):
        ActionPipeline([Begin, Deploy], strict=True)
    ActionPipeline([Begin, Deploy], strict=True, validate_schemas=False)
    ActionPipeline([Begin, Increase], strict=True)


def test_a_pipeline_shows_what_it_is_made_of():
    pipeline = ActionPipeline([Begin, "parts/add", PipelineAction(Increase, "more")])

    assert repr(pipeline) == "ActionPipeline(Begin | parts/add | Increase)"
    assert len(pipeline) == 3
    pipeline.actions.clear()
    assert pipeline.actions == [Begin, "parts/add", Increase]


def test_a_graph_can_be_given_by_names():
    pipeline = ActionPipeline([Begin, Increase, Break], after={"Break": ["Begin"]})

    assert [(entry.name, entry.after) for entry in pipeline.entries][1:] == [
        ("Increase", ("Begin",)),
        ("Break", ("Begin",)),
    ]
    with pytest.raises(InvalidRequest, match="Bgin"):
        ActionPipeline([Begin, Increase], after={"Bgin": []})


# Scripts that make recorded runs


def test_a_script_submits_waits_and_watches(executor):
    pipeline = ActionPipeline(["add", "parts/add", "others/double"])

    run_id = pipeline.submit({"total": 1}, executor, name="sums")
    seen = list(executor.stream_progress(run_id))

    assert pipeline.wait(run_id, executor) == {"total": 6}
    assert executor.get_result(run_id) == {"total": 6}
    assert executor.get_status(run_id) == "COMPLETED"
    assert seen[-1] == executor.get_progress(run_id)
    assert seen[-1].overall_progress == 100.0
    assert [progress.overall_progress for progress in seen] == sorted(one.overall_progress for one in seen)
    assert [point.result for point in executor.get_checkpoints(run_id)] == [
        {"total": 2},
        {"total": 3},
        {"total": 6},
    ]


def test_progress_is_streamed_asynchronously_and_displayed(executor):
    run_id = ActionPipeline(["add", "add"]).submit({"total": 1}, executor)
    shown = io.StringIO()

    async def watch() -> PipelineProgress:
        with anyio.fail_after(60):
            return await display_progress_async(
                executor.stream_progress_async(run_id), console=Console(file=shown, width=100)
            )

    final = anyio.run(watch)

    assert final.status in ("COMPLETED", "FAILED")
    assert final.completed_actions == 2
    assert "2 of 2 actions" in shown.getvalue()


def test_a_failed_pipeline_raises_and_is_resumed_with_what_is_repaired(executor):
    pipeline = ActionPipeline(["add", "fail"])
    run_id = pipeline.submit({"total": 1}, executor)
    with pytest.raises(ExecutionError, match="not repaired yet") as failed:
        pipeline.wait(run_id, executor)
    assert failed.value.details["code"] == "execution_failed"
    assert executor.get_status(run_id) == RunStatus.FAILED

    again = pipeline.submit({"repaired": True}, executor, resume_from=run_id)

    assert pipeline.wait(again, executor) == {"total": 2}
    assert executor.get_progress(again).actions["add"].status == "SKIPPED"


def test_waiting_has_an_end_and_cancelling_too(executor):
    run_id = ActionPipeline(["sleep"]).submit({}, executor)

    with pytest.raises(TimeoutError):
        executor.get_result(run_id, timeout_seconds=0.2)
    cancelled = executor.cancel(run_id)
    assert cancelled.status == "cancelled"
    assert cancelled.is_done


def test_classes_of_a_module_run_in_workers_and_those_of_a_script_are_refused(
    executor, tmp_path, monkeypatch
):
    (tmp_path / "my_steps.py").write_text(
        "from pydantic import BaseModel\nfrom synapse_core import BaseAction\n"
        "class P(BaseModel):\n    n: int\n"
        "class Double(BaseAction[P]):\n    def execute(self):\n        return {'n': self.params.n * 2}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_steps

    run_id = ActionPipeline([my_steps.Double, my_steps.Double]).submit({"n": 1}, executor)
    assert executor.get_result(run_id, 60) == {"n": 4}

    class Local(BaseAction[StartParams]):
        def execute(self) -> None:
            return None

    with pytest.raises(InvalidRequest, match="top level"):
        executor.submit(ActionPipeline([Local]), {"start": 1})
    monkeypatch.setattr(my_steps.Double, "__module__", "__main__")
    with pytest.raises(InvalidRequest, match="__main__, which no worker can import"):
        executor.submit(ActionPipeline([my_steps.Double]), {"n": 1})


def test_the_environment_of_an_executor_reaches_the_actions(plugins, tmp_path, monkeypatch):
    (tmp_path / "my_env.py").write_text(
        "import os\nfrom synapse_core import BaseAction\n"
        "class Show(BaseAction):\n    def execute(self):\n        return os.environ['SHOWN']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_env

    with RayPipelineExecutor({"SHOWN": "yes"}, mode="local") as executor:
        assert executor.get_result(executor.submit(ActionPipeline([my_env.Show])), 60) == "yes"


# The records


def pipeline_run(*names: str) -> Run:
    entries = tuple(ActionEntry(name=name, plugin="p", action=name) for name in names)
    return Run(
        run_id="r",
        plugin="p",
        action="+".join(names),
        mode="local",
        state=RunState.QUEUED,
        created=datetime.now(UTC),
        actions=entries,
    )


def test_a_pipeline_is_as_far_as_its_actions_are_on_the_average():
    run = fold(
        pipeline_run("a", "b"),
        [
            ActionStarted(seq=1, action="a", index=1, total=2),
            Progress(seq=2, action="a", current=1, total=2, percent=50, category="load"),
            Metrics(seq=3, action="a", category="train", values={"loss": 1}),
            Artifact(seq=4, action="a", name="f", uri="actions/a/artifacts/f"),
        ],
    )

    assert run.progress.fraction == 0.25
    assert run.progress.step == "a: load"
    assert run.metrics == {"a/train": {"loss": 1}}
    assert [artifact.name for artifact in run.artifacts] == ["f"]
    assert run.actions[0].state is ActionState.RUNNING
    done = fold(run, [ActionFinished(seq=5, action="a", state=ActionState.SUCCEEDED, result=7)])
    assert (done.progress.fraction, done.actions[0].result) == (0.5, 7)
    assert done.after(Succeeded(seq=6, result=1)).progress.fraction == 1.0


def test_what_was_running_when_a_pipeline_ended_is_not_said_to_go_on():
    run = pipeline_run("a", "b").after(ActionStarted(action="a", index=1, total=2))

    assert [entry.state for entry in run.after(Stopped()).actions] == ["stopped", "pending"]
    assert [entry.state for entry in run.is_lost().actions] == ["lost", "pending"]


def test_progress_travels_as_plain_data_and_compares_in_any_case():
    run = fold(pipeline_run("a"), [ActionStarted(action="a", index=1, total=1, at=datetime.now(UTC))])
    progress = PipelineProgress.of(run)

    plain = progress.to_dict()
    assert (plain["overall_progress"], plain["total_actions"], plain["completed_actions"]) == (0.0, 1, 0)
    assert PipelineProgress.from_dict(plain) == progress
    assert progress.current_action == "a"
    assert progress.actions["a"].status == "Running" == ActionStatus.RUNNING
    assert progress.actions["a"].status != "FAILED"
    point = Checkpoint(run_id="r", action_name="a", result={"x": 1}, created_at=datetime.now(UTC))
    assert Checkpoint.from_dict(point.to_dict()) == point


def test_progress_is_drawn_with_every_action_and_the_error():
    run = fold(
        pipeline_run("load", "train"),
        [
            ActionStarted(action="load", index=1, total=2, attempt=2),
            ActionFinished(action="load", state=ActionState.FAILED, code="x", message="no disk"),
        ],
    )
    shown = io.StringIO()
    console = Console(file=shown, width=100)

    last = display_progress([PipelineProgress.of(run)], console=console)
    print_progress_summary(last, console=console)

    assert last.run_id == "r"
    for words in ("load", "train", "failed", "attempt 2: no disk", "0 of 2 actions"):
        assert words in shown.getvalue()
    with pytest.raises(RuntimeError, match="No progress"):
        display_progress([], console=console)


def test_a_pipeline_context_has_a_place_for_each_kind_of_file(tmp_path):
    context = PipelineContext("sums", base_path=tmp_path)

    assert context.work_dir == tmp_path / "sums" / context.run_id
    assert len(context.run_id) == 12
    for place in ("datasets_dir", "models_dir", "artifacts_dir", "logs_dir", "checkpoints_dir"):
        assert getattr(context, place).is_dir()
    assert context.get_action_dir("train").is_dir()
    with pytest.raises(InvalidRequest):
        context.get_action_dir("../elsewhere")
    context.cleanup()
    assert not (tmp_path / "sums" / context.run_id).exists()
    with pytest.raises(InvalidRequest, match="shares no folder"):
        PipelineContext.of(RuntimeContext(logger=NoOpLogger()))
