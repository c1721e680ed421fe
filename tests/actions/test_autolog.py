"""Autolog: what ultralytics tells its callbacks becomes progress, metrics, pictures and artifacts.

One test trains with the real package where that is installed. The others use a trainer of the test's own,
which calls its callbacks in the order that the package documents: they are about what is made of the calls.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import RecordingLogger, World, context_of
from pydantic import BaseModel

from synapse_core.actions.train import (
    BaseTrainAction,
    BaseTrainParams,
    ModelUploadStep,
    TrainContext,
    TrainExecuteStep,
)
from synapse_core.base_action import BaseAction
from synapse_core.context import RuntimeContext
from synapse_core.errors import RunStopped
from synapse_core.events import Artifact, Log, Metrics, Progress, decode_line
from synapse_core.integrations import disable_autolog, list_integrations
from synapse_core.steps import StepRegistry

HAS_ULTRALYTICS = importlib.util.find_spec("ultralytics") is not None


class Params(BaseModel):
    epochs: int = 2


class Action(BaseAction[Params]):
    """Trains with what calls itself ultralytics."""

    def execute(self) -> None:
        return


class Trainer:
    """A trainer of two epochs, which calls back as the one of ultralytics does, and learns nothing."""

    def __init__(self, save_dir: Path, epochs: int = 2) -> None:
        self.save_dir, self.epochs, self.start_epoch = save_dir, epochs, 0
        self.best, self.last = save_dir / "weights/best.pt", save_dir / "weights/last.pt"
        self.callbacks: dict[str, list[Callable[[Any], None]]] = defaultdict(list)
        self.metrics: dict[str, float] = {}
        self.tloss: Any = None
        self.epoch: int  # there from the first epoch on

    def label_loss_items(self, loss_items: Any = None, prefix: str = "train") -> dict[str, float]:
        return {f"{prefix}/{name}": value for name, value in loss_items.items()}

    def run_callbacks(self, event: str) -> None:
        for callback in self.callbacks.get(event, []):
            callback(self)

    def train(self) -> str:
        self.best.parent.mkdir(parents=True)
        self.run_callbacks("on_train_start")
        for epoch in range(self.epochs):
            self.epoch = epoch
            self.tloss = {"box_loss": 2.0 - self.epoch, "cls_loss": 1.5, "dfl_loss": 1.0}
            self.run_callbacks("on_train_epoch_end")
            self._validate()
        for file in (self.best, self.last):
            file.write_bytes(b"weights")
        # The validation of the best weights counts as one more epoch.
        self.epoch += 1
        self._validate()
        self.epoch -= 1
        self.run_callbacks("on_train_end")
        return "trained"

    def _validate(self) -> None:
        self.metrics = {
            "metrics/mAP50(B)": 0.5 + self.epoch / 10,
            "metrics/mAP50-95(B)": 0.3,
            "metrics/mAP50(M)": 0.4,
            "val/box_loss": 1.25,
            "val/cls_loss": float("nan"),
            "fitness": 0.3,
        }
        for index in range(4):
            (self.save_dir / f"val_batch{index}_pred.jpg").write_bytes(f"{self.epoch} {index}".encode())
        self.run_callbacks("on_fit_epoch_end")


@pytest.fixture
def trainer_class(monkeypatch: pytest.MonkeyPatch) -> type[Trainer]:
    """A package of the name ultralytics, with a trainer where the real one has it."""

    class BaseTrainer(Trainer):
        def train(self) -> str:
            return super().train()

    engine = types.ModuleType("ultralytics.engine.trainer")
    engine.BaseTrainer = BaseTrainer  # type: ignore[attr-defined]
    for name in ("ultralytics", "ultralytics.engine"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "ultralytics.engine.trainer", engine)
    return BaseTrainer


@pytest.fixture
def logger() -> RecordingLogger:
    return RecordingLogger()


@pytest.fixture
def action(logger: RecordingLogger, tmp_path: Path) -> Action:
    return Action(Params(), RuntimeContext(logger, run_folder=tmp_path / "run"))


def artifacts(logger: RecordingLogger) -> list[str]:
    return [event.name for event in logger.events if isinstance(event, Artifact)]


def test_a_training_tells_its_progress_and_metrics(
    action: Action, logger: RecordingLogger, trainer_class: type[Trainer], tmp_path: Path
):
    action.autolog("ultralytics")
    assert trainer_class(tmp_path / "out").train() == "trained"

    assert logger.progress("train") == [(0, 2), (1, 2), (2, 2), (2, 2)]
    assert logger.metrics("train")[-1] == {"epoch": 2, "box_loss": 1.0, "cls_loss": 1.5, "dfl_loss": 1.0}
    assert logger.metrics("validation")[-1] == {
        "epoch": 2,
        "mAP50": 0.7,
        "mAP50_95": 0.3,
        "mAP50_mask": 0.4,
        "box_loss": 1.25,
    }


def test_pictures_and_weights_become_artifacts(
    action: Action, logger: RecordingLogger, trainer_class: type[Trainer], tmp_path: Path
):
    action.autolog("ultralytics")
    trainer_class(tmp_path / "out").train()

    shown = [f"validation/epoch_{epoch:04d}/val_batch{n}_pred.jpg" for epoch in (1, 2, 2) for n in range(3)]
    assert artifacts(logger) == [*shown, "weights/best.pt", "weights/last.pt"]
    # Each epoch has its own, though the next one writes over them.
    first = action.ctx.artifacts_dir / shown[0]
    assert first.read_bytes() == b"0 0"
    told = [event for event in logger.events if isinstance(event, Log) and event.event == "visualization"]
    assert [event.data["index"] for event in told] == [0, 1, 2] * 3
    assert told[0].file == str(first)


def test_a_trainer_that_was_made_before_reports_as_well_and_once(
    action: Action, logger: RecordingLogger, trainer_class: type[Trainer], tmp_path: Path
):
    before = trainer_class(tmp_path / "out")
    mine: list[Any] = []
    before.callbacks["on_train_end"].append(mine.append)
    shared = before.callbacks
    action.autolog("ultralytics")
    action.autolog("ultralytics")
    before.train()

    assert len(logger.progress("train")) == 4
    assert mine == [before]
    assert list(shared) == ["on_train_end"]
    assert shared["on_train_end"] == [mine.append]


def test_what_was_taken_back_reports_nothing(
    action: Action, logger: RecordingLogger, trainer_class: type[Trainer], tmp_path: Path
):
    original = trainer_class.train
    action.autolog("ultralytics")
    disable_autolog("ultralytics")
    disable_autolog("ultralytics")

    trainer_class(tmp_path / "out").train()
    assert logger.events == []
    assert trainer_class.train is original


def test_an_action_that_is_gone_is_told_nothing(trainer_class: type[Trainer], tmp_path: Path):
    logger = RecordingLogger()
    Action(Params(), RuntimeContext(logger)).autolog("ultralytics")

    trainer_class(tmp_path / "out").train()
    assert logger.events == []


def test_a_stop_ends_the_training_at_the_next_callback(
    action: Action, logger: RecordingLogger, trainer_class: type[Trainer], tmp_path: Path
):
    action.autolog("ultralytics")
    trainer = trainer_class(tmp_path / "out", epochs=50)
    trainer.callbacks["on_train_epoch_end"].append(lambda _: action.ctx.stop.request())

    with pytest.raises(RunStopped):
        trainer.train()
    assert trainer.epoch == 0


def test_a_name_that_is_not_known_lists_those_that_are(action: Action):
    with pytest.raises(ValueError, match=r"no integration for 'keras'; known: .*ultralytics"):
        action.autolog("keras")
    with pytest.raises(ValueError, match="known: ultralytics"):
        disable_autolog("keras")
    assert "ultralytics" in list_integrations()


@pytest.mark.skipif(HAS_ULTRALYTICS, reason="ultralytics is installed here")
def test_a_package_that_is_missing_says_what_to_install(action: Action):
    with pytest.raises(ImportError, match="pip install ultralytics"):
        action.autolog("ultralytics")


class TrainingAction(BaseTrainAction[BaseTrainParams]):
    """Trains in a step and returns nothing: what autolog has seen is the model."""

    def setup_steps(self, registry: StepRegistry[TrainContext]) -> None:
        registry.register(TrainExecuteStep())
        registry.register(ModelUploadStep())

    def execute(self) -> None:
        self.autolog("ultralytics")
        sys.modules["ultralytics.engine.trainer"].BaseTrainer(self.ctx.artifacts_dir / "out").train()


@pytest.mark.usefixtures("trainer_class")
def test_the_weights_that_were_seen_become_the_model(world: World):
    result = TrainingAction.dispatch({}, context_of(world))

    model = world.backend.get_model(result["model_id"])
    assert model.file.name.endswith(".zip")
    assert model.metrics["validation/mAP50"] == 0.7
    assert model.metrics["train/box_loss"] == 1.0


# With the real package

SCRIPT = """
import os, sys
from pathlib import Path
from ultralytics import YOLO
from synapse_core.actions.train import BaseTrainAction, BaseTrainParams
from synapse_core.executors import LocalExecutor
from synapse_core.loggers import EventLogger
from synapse_core.context import RuntimeContext
from synapse_core.actions.dataset import DatasetResult

run = Path(sys.argv[2])
before = YOLO("yolov8n.yaml")

class Train(BaseTrainAction[BaseTrainParams]):
    def execute(self):
        self.autolog("ultralytics")
        root = Path(sys.argv[1])
        dataset = DatasetResult(path=root, format="yolo", config_path=root / "data.yaml")
        before.train(data=dataset, epochs=2, imgsz=32, batch=4, workers=0, device="cpu", amp=False, val=True,
                     project=str(self.ctx.artifacts_dir), name="out", verbose=False, pretrained=False)
        return {"weights": str(self.trained_path)}

(run / "artifacts").mkdir(parents=True)
print(Train.dispatch({}, RuntimeContext(EventLogger(run / "events.jsonl"), run_folder=run))["weights"])
"""


@pytest.fixture
def shapes(tmp_path: Path) -> Iterator[Path]:
    """A tiny dataset in YOLO's layout."""
    from PIL import Image, ImageDraw

    root = tmp_path / "shapes"
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True)
        for number in range(4):
            image = Image.new("RGB", (32, 32), (number * 40, 90, 120))
            ImageDraw.Draw(image).rectangle((8, 8, 24, 24), fill=(250, 250, 0))
            image.save(root / "images" / split / f"{number}.png")
            (root / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [square]\n")
    yield root


@pytest.mark.skipif(not HAS_ULTRALYTICS, reason="the extra ultralytics is not installed")
def test_a_training_with_the_real_package_reports(shapes: Path, tmp_path: Path):
    run = tmp_path / "run"
    environment = {
        "YOLO_CONFIG_DIR": str(tmp_path),
        "YOLO_OFFLINE": "true",
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
    }
    environment |= {
        "SYNAPSE_HOME": str(tmp_path / "home"),
        "PYTHONPATH": ":".join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(shapes), str(run)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    events = [decode_line(line) for line in (run / "events.jsonl").read_bytes().splitlines(keepends=True)]
    progress = [
        event.percent for event in events if isinstance(event, Progress) and event.category == "train"
    ]
    metrics = {event.category: event.values for event in events if isinstance(event, Metrics)}
    names = [event.name for event in events if isinstance(event, Artifact)]
    assert progress == [0, 50, 100, 100]
    assert {"epoch", "box_loss", "cls_loss", "dfl_loss"} <= set(metrics["train"])
    assert {"epoch", "mAP50", "mAP50_95", "precision", "recall"} <= set(metrics["validation"])
    assert {"weights/best.pt", "weights/last.pt", "validation/epoch_0002/val_batch0_pred.jpg"} <= set(names)
    assert done.stdout.splitlines()[-1] == str(run / "artifacts/out/weights")
