"""The step guide's blocks about steps, contexts, registries and the orchestrator."""

from __future__ import annotations

import dataclasses
import inspect
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import draw_image
from PIL import Image
from seeds.bench import Bench, step_class
from seeds.documents import Block, block

from synapse_core import steps
from synapse_core.errors import StepFailed, ValidationError
from synapse_core.steps import BaseStep, BaseStepContext, Orchestrator, StepRegistry, StepResult

DOCUMENT = "step-guide"


@dataclass
class MyContext(BaseStepContext):
    items: list[str] = field(default_factory=list)
    loaded_data: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)


def step_interface(block: Block, bench: Bench) -> None:
    """The class as it is written out there and ours are called alike, and the written one works with ours."""
    written = block.run(BaseStepContext=BaseStepContext).BaseStep

    assert written.__abstractmethods__ == BaseStep.__abstractmethods__
    for name in ("execute", "can_skip", "rollback"):
        ours = inspect.signature(getattr(BaseStep, name))
        assert list(ours.parameters) == list(inspect.signature(getattr(written, name)).parameters)

    class Write(written):  # type: ignore[valid-type,misc]
        name = "write"
        progress_weight = 1.0

        def execute(self, context: Any) -> StepResult:
            return StepResult(data={"written": True})

    context = MyContext(bench.context())
    summary = bench.work_through(context, Write())
    assert summary == {"success": True, "steps_executed": 1, "steps_total": 1}
    assert context.step_results[0].data == {"written": True}


def result_fields(block: Block, bench: Bench) -> None:
    written = block.run().StepResult

    def described(kind: Any) -> list[tuple[str, Any, Any]]:
        return [(one.name, one.default, one.default_factory) for one in dataclasses.fields(kind)]

    assert described(written)[:-1] == described(StepResult)[:-1]
    assert dataclasses.asdict(written(error="x", timestamp=None)) == vars(
        StepResult(error="x", timestamp=None)
    )  # type: ignore[arg-type]


def context_fields(block: Block, bench: Bench) -> None:
    written = block.run(StepResult=StepResult).BaseStepContext
    names = [one.name for one in dataclasses.fields(written)]
    assert names == [one.name for one in dataclasses.fields(BaseStepContext)]

    for kind in (written, BaseStepContext):
        context = kind(bench.context(), [], [])

        def tell(context: Any) -> None:
            context.log("seen", {"count": 1})
            context.set_progress(1, 2)
            context.set_progress(1, 4, "elsewhere")
            context.set_metrics({"loss": 1})
            context.set_metrics({"loss": 2}, "elsewhere")

        bench.work_through(context, step_class("look", tell)())
        assert ("seen", {"count": 1}) in bench.logs()
        assert bench.logger.progress("look") == [(1, 2)]
        assert bench.logger.progress("elsewhere") == [(1, 4)]
        assert bench.logger.metrics("look") == [{"loss": 1}]
        assert bench.logger.metrics("elsewhere") == [{"loss": 2}]
        assert context.current_step is None


def registry(block: Block, bench: Bench) -> None:
    new = iter([step_class("new_a", weight=0.3)(), step_class("new_b", weight=0.1)()])
    numbered = {f"Step{number}": step_class(f"step{number}", weight=0.2) for number in (1, 2, 3)}
    # Names are unique in a workflow, so that the second new step has another one.
    it = block.run(MyContext=MyContext, NewStep=lambda: next(new), **numbered)

    names = ["step1", "new_a", "step2", "new_b", "step3"]
    assert [step.name for step in it.steps] == names
    assert it.total == pytest.approx(1.0)
    it.steps.clear()
    assert len(it.registry) == 5
    Orchestrator(it.registry, MyContext(bench.context())).execute()
    assert bench.logger.steps() == names


def orchestration(block: Block, bench: Bench) -> None:
    registry: StepRegistry[Any] = StepRegistry()
    for name, weight in (("load", 0.1), ("work", 0.3), ("save", 0.1)):
        registry.register(step_class(name, weight=weight)())
    told: list[str] = []
    it = block.run(registry=registry, context=MyContext(bench.context()), print=told.append)

    assert it.result == {"success": True, "steps_executed": 3, "steps_total": 3}
    assert told == ["20%", "80%", "100%"]


def image_steps() -> dict[str, Any]:
    """Return the context and the steps of the guide's example."""
    context = block(DOCUMENT, 6).run().ImageProcessingContext
    found = vars(block(DOCUMENT, 7).run(ImageProcessingContext=context))

    class ResizeImagesStep(found["ResizeImagesStep"]):  # type: ignore[misc]
        """With what the guide leaves out."""

        def _resize_image(self, path: str, output_dir: str, width: int) -> tuple[str, int]:
            target = Path(output_dir, Path(path).name)
            with Image.open(path) as image:
                image.resize((width, width)).save(target)
            return str(target), Path(path).stat().st_size - target.stat().st_size

    return {
        **found,
        "WrittenResizeImagesStep": found["ResizeImagesStep"],
        "ResizeImagesStep": ResizeImagesStep,
    }


def image_context(bench: Bench, kind: Any, count: int = 3) -> Any:
    """Return the example's context, with pictures to work on, one of which is none."""
    pictures, output = bench.folder / "in", bench.folder / "out"
    for folder in (pictures, output):
        folder.mkdir(exist_ok=True)
    for number in range(count):
        draw_image(pictures / f"{number}.png", number)
    return kind(runtime_ctx=bench.context(), input_dir=str(pictures), output_dir=str(output), resize_width=8)


def example_context(block: Block, bench: Bench) -> None:
    kind = block.run().ImageProcessingContext
    runtime = bench.context()
    context = kind(runtime_ctx=runtime, input_dir="in")

    assert (context.input_dir, context.resize_width, context.image_paths) == ("in", 800, [])
    assert bench.work_through(context, step_class("one")())["steps_executed"] == 1
    assert len(context.step_results) == 1


def example_steps(block: Block, bench: Bench) -> None:
    found = image_steps()
    assert block.run(ImageProcessingContext=found["ImageProcessingContext"]).ResizeImagesStep is not None
    context = image_context(bench, found["ImageProcessingContext"])
    bench.write("in/3.jpg", "no picture")
    every = (found["DiscoverImagesStep"](), found["ResizeImagesStep"](), found["GenerateReportStep"]())
    bench.work_through(context, *every)

    assert bench.logger.steps() == ["discover_images", "resize_images", "generate_report"]
    assert bench.logger.progress("resize_images") == [(1, 4), (2, 4), (3, 4), (4, 4)]
    report = {"total_images": 4, "processed": 3, "failed": 1, "bytes_saved": context.total_bytes_saved}
    assert [name for name, _ in bench.logs()] == ["resize_failed", "processing_complete"]
    assert bench.logs()[-1][1] == context.step_results[-1].data == report
    for path in context.processed_images:
        with Image.open(path) as image:
            assert image.size == (8, 8)

    # A later step fails: what was made is deleted, and a file that is gone already is told.
    context = image_context(bench, found["ImageProcessingContext"])

    def fail(context: Any) -> StepResult:
        Path(context.processed_images[0]).unlink()
        return StepResult(success=False, error="no room")

    with pytest.raises(RuntimeError, match="no room"):
        bench.work_through(context, *every, step_class("publish", fail)())
    assert list((bench.folder / "out").iterdir()) == []
    assert [error.partition(":")[0] for error in context.errors] == ["Failed to delete"]

    # As it is written, nothing can be resized, so there is nothing to report.
    context = image_context(bench, found["ImageProcessingContext"])
    bench.work_through(context, every[0], found["WrittenResizeImagesStep"](), every[2])
    assert len(context.failed_images) == 4
    assert bench.logger.steps() == ["discover_images", "resize_images", "(generate_report)"]


def example_workflow(block: Block, bench: Bench) -> None:
    found = image_steps()
    it = block.run(**{name: value for name, value in found.items() if not name.startswith("__")})
    context = image_context(bench, found["ImageProcessingContext"])

    result = it.process_images(bench.context(), context.input_dir, context.output_dir)
    assert result == {"success": True, "processed": 3, "failed": 0}
    assert bench.logger.progress("overall") == [(10, 100), (80, 100), (100, 100)]

    empty = bench.folder / "empty"
    empty.mkdir()
    result = it.process_images(bench.context(), str(empty), context.output_dir)
    assert (result["success"], result["errors"]) == (False, [])
    assert f"No images found in {empty}" in result["error"]


def logged_step(block: Block, bench: Bench) -> None:
    found = image_steps()
    it = block.run(ResizeImagesStep=found["ResizeImagesStep"])
    context = image_context(bench, found["ImageProcessingContext"])
    bench.work_through(context, found["DiscoverImagesStep"](), it.logged_step)

    assert (it.logged_step.name, it.logged_step.progress_weight) == ("logged_resize_images", 0.7)
    (begun, begun_data), (ended, ended_data) = bench.logs()
    assert (begun, begun_data) == ("step_start", {"step": "logged_resize_images"})
    assert (ended, ended_data["step"], ended_data["success"]) == ("step_end", "logged_resize_images", True)
    assert 0 < ended_data["elapsed"] < 60


def timed_step(block: Block, bench: Bench) -> None:
    found = image_steps()
    it = block.run(ResizeImagesStep=found["ResizeImagesStep"])
    context = image_context(bench, found["ImageProcessingContext"])
    bench.work_through(context, found["DiscoverImagesStep"](), it.timed_step)

    assert context.step_results[-1].data["processed"] == 3
    assert 0 < context.step_results[-1].data["duration_seconds"] < 60


def validation_step(block: Block, bench: Bench) -> None:
    found = image_steps()
    names = {name: found[name] for name in ("ImageProcessingContext", "DiscoverImagesStep")}
    registry: StepRegistry[Any] = StepRegistry()
    it = block.run(os=os, registry=registry, **names)
    context = image_context(bench, found["ImageProcessingContext"])

    assert (it.validate_step.name, it.validate_step.progress_weight) == ("validate_input", 0.05)
    assert Orchestrator(registry, context).execute()["steps_executed"] == 2
    for folder, told in (("", "input_dir is required"), ("nowhere", "Directory not found: nowhere")):
        context.input_dir = folder
        with pytest.raises(StepFailed, match=told):
            Orchestrator(registry, context).execute()


def composed_step(block: Block, bench: Bench) -> None:
    found = image_steps()
    it = block.run(ResizeImagesStep=found["ResizeImagesStep"])
    context = image_context(bench, found["ImageProcessingContext"])
    bench.work_through(context, found["DiscoverImagesStep"](), it.step)

    assert it.step.name == "logged_timed_resize_images"
    assert [name for name, _ in bench.logs()] == ["step_start", "step_end"]
    assert "duration_seconds" in context.step_results[-1].data


def weights(block: Block, bench: Bench) -> None:
    it = block.run(BaseStep=BaseStep)
    kinds = (it.ValidateStep, it.LoadDataStep, it.ProcessStep, it.SaveResultsStep)
    done: list[str] = []

    def completed(kind: Any) -> Any:
        def execute(self: Any, context: Any) -> StepResult:
            done.append(self.name)
            return StepResult()

        return type(kind.__name__, (kind,), {"name": kind.__name__, "execute": execute})()

    registry: StepRegistry[Any] = StepRegistry()
    for kind in kinds:
        registry.register(completed(kind))
    told: list[int] = []
    Orchestrator(registry, MyContext(bench.context()), lambda percent, _: told.append(percent)).execute()

    assert registry.total_weight == pytest.approx(1.0)
    assert told == [5, 20, 90, 100]
    assert done == ["ValidateStep", "LoadDataStep", "ProcessStep", "SaveResultsStep"]


def context_design(block: Block, bench: Bench) -> None:
    it = block.run(dataclass=dataclass, field=field, BaseStepContext=BaseStepContext)

    def load(context: Any) -> None:
        context.loaded_data = {"path": context.config_path}
        context.results.append(context.config_path)

    context = it.GoodContext(bench.context(), "config.yaml")
    bench.work_through(context, step_class("load", load)())
    assert (context.loaded_data, context.results) == ({"path": "config.yaml"}, ["config.yaml"])
    assert len(context.step_results) == 1
    with pytest.raises(TypeError, match="config_path"):
        it.GoodContext(runtime_ctx=bench.context())


def handled_errors(block: Block, bench: Bench) -> None:
    failures: list[Exception] = []

    class Work(step_class("work")):  # type: ignore[misc]
        execute = block.run(
            MyContext=MyContext, StepResult=StepResult, ValidationError=ValidationError
        ).execute

        def _do_work(self, context: Any) -> dict[str, int]:
            if failures:
                raise failures[0]
            return {"done": 1}

    context = MyContext(bench.context())
    bench.work_through(context, Work())
    assert context.step_results[-1].data == {"done": 1}
    failures.append(ValidationError("too small"))
    with pytest.raises(StepFailed, match="too small"):
        bench.work_through(context, Work())
    assert bench.logs() == []
    failures[0] = OSError("no room")
    with pytest.raises(StepFailed, match="Unexpected: no room"):
        bench.work_through(context, Work())
    assert bench.logs() == [("unexpected_error", {"error": "no room"})]


def rollback(block: Block, bench: Bench) -> None:
    it = block.run(MyContext=MyContext, StepResult=StepResult, os=os)

    class Write(step_class("write")):  # type: ignore[misc]
        execute = it.execute
        rollback = it.rollback

        def _create_file(self, item: str) -> str:
            return str(bench.write(f"made/{item}"))

    def fail(context: Any) -> StepResult:
        (bench.folder / "made/a").unlink()
        return StepResult(success=False, error="no room")

    context = MyContext(bench.context(), items=["a", "b", "c"])
    bench.work_through(context, Write())
    assert len(list((bench.folder / "made").iterdir())) == 3
    with pytest.raises(StepFailed, match="no room"):
        bench.work_through(context, Write(), step_class("fail", fail)())
    assert list((bench.folder / "made").iterdir()) == []
    assert len(context.errors) == 1
    assert "Rollback failed for" in context.errors[0]


def independence(block: Block, bench: Bench) -> None:
    it = block.run(BaseStep=BaseStep, StepResult=StepResult, MyContext=MyContext)

    class Process(it.ProcessStep):  # type: ignore[name-defined,misc]
        name = "process"
        progress_weight = 1.0

        def _process(self, data: list[int]) -> list[int]:
            return [2 * one for one in data]

    context = MyContext(bench.context())
    load = step_class("load", lambda context: context.loaded_data.extend([1, 2]))
    bench.work_through(context, load(), steps.LoggingStep(Process()))
    assert context.results == [2, 4]


CASES = {
    1: step_interface,
    2: result_fields,
    3: context_fields,
    4: registry,
    5: orchestration,
    6: example_context,
    7: example_steps,
    8: example_workflow,
    9: logged_step,
    10: timed_step,
    11: validation_step,
    12: composed_step,
    19: weights,
    20: context_design,
    21: handled_errors,
    22: rollback,
    23: independence,
}
