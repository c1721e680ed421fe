"""Autolog for ultralytics: its callbacks become progress, metrics, pictures and artifacts of the run.

The training itself is what is listened to, so that models made before and after autolog() report alike.
Trainings on several GPUs happen in processes of their own, of which only the end is seen.
"""

from __future__ import annotations

import importlib
import math
import re
import shutil
import sys
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from synapse_core.base_action import BaseAction

_TRAINER = "ultralytics.engine.trainer"
_MARK = "_synapse_original"
_TRAIN, _VALIDATION = "train", "validation"
_MOST_PICTURES = 3
_PICTURE_SECONDS = 10.0
# What the letter behind a metric's name means; a box is what is meant where nothing is said.
_ABOUT = {"": "", "B": "", "M": "_mask", "P": "_pose"}
_NAME = re.compile(r"(?:metrics|val|train)/([^()]+)(?:\(([A-Z])\))?")


def activate(action: BaseAction[Any]) -> None:
    """Let every training of ultralytics in this process report to `action`, while that exists.

    Raises ImportError where ultralytics is not installed.
    """
    try:
        trainer = importlib.import_module(_TRAINER).BaseTrainer
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ultralytics":
            raise
        raise ImportError(
            "autolog('ultralytics') needs the package ultralytics, which is not installed here. Install it "
            "with `pip install ultralytics`, and name it in the plugin's requirements.txt.",
            name="ultralytics",
        ) from error
    deactivate()
    original = trainer.train
    owner = weakref.ref(action)

    @wraps(original)
    def train(self: Any) -> Any:
        listening = owner()
        if listening is not None:
            _listen(self, _Report(listening))
        return original(self)

    setattr(train, _MARK, original)
    trainer.train = train


def deactivate() -> None:
    """Let trainings that begin from now on report nothing."""
    module = sys.modules.get(_TRAINER)
    original = getattr(module.BaseTrainer.train, _MARK, None) if module is not None else None
    if module is not None and original is not None:
        module.BaseTrainer.train = original


def _listen(trainer: Any, report: _Report) -> None:
    """Add to a trainer's callbacks, not to those of its model: a model can be trained again.

    The ones for Ray Tune go, as they report to a session that there is none of.
    """
    callbacks: defaultdict[str, list[Callable[[Any], None]]] = defaultdict(list)
    for event, present in trainer.callbacks.items():
        callbacks[event] = [one for one in present if not str(one.__module__).endswith(".raytune")]
    for event, callback in report.callbacks().items():
        callbacks[event].append(callback)
    trainer.callbacks = callbacks


class _Report:
    """What is told of one training."""

    def __init__(self, action: BaseAction[Any]) -> None:
        self._action = action
        self._seen: dict[Path, int] = {}

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        return {
            "on_train_start": self._started,
            "on_train_epoch_end": self._trained,
            "on_fit_epoch_end": self._validated,
            "on_train_end": self._ended,
        }

    def _started(self, trainer: Any) -> None:
        self._action.log_message(f"Training for {trainer.epochs} epochs.")
        # Where a training is resumed it does not begin with the first.
        done = min(int(trainer.start_epoch), int(trainer.epochs))
        self._action.set_progress(done, trainer.epochs, _TRAIN)

    def _trained(self, trainer: Any) -> None:
        epoch = _epoch(trainer)
        losses = _plain(trainer.label_loss_items(trainer.tloss, prefix="train"))
        self._action.log_metric(_TRAIN, "epoch", epoch, **losses)
        self._action.set_progress(epoch, trainer.epochs, _TRAIN)

    def _validated(self, trainer: Any) -> None:
        epoch = _epoch(trainer)
        if metrics := _plain(trainer.metrics or {}):
            self._action.log_metric(_VALIDATION, "epoch", epoch, **metrics)
        self._show_pictures(Path(trainer.save_dir), epoch)

    def _ended(self, trainer: Any) -> None:
        # A stop for lack of progress ends a training before its last epoch.
        self._action.set_progress(trainer.epochs, trainer.epochs, _TRAIN)
        self._show_pictures(Path(trainer.save_dir), _epoch(trainer))
        weights = [Path(file) for file in (trainer.best, trainer.last) if Path(file).is_file()]
        for file in weights:
            self._action.ctx.add_artifact(file, f"weights/{file.name}")
        note_weights = getattr(self._action, "note_weights", None)
        if weights and note_weights is not None:
            note_weights(weights[0].parent)

    def _show_pictures(self, folder: Path, epoch: int) -> None:
        """Keep the pictures that came since the last look: those of the next epoch have the same names."""
        _wait_for_pictures()
        for index in range(_MOST_PICTURES):
            file = folder / f"val_batch{index}_pred.jpg"
            changed = file.stat().st_mtime_ns if file.is_file() else None
            if changed is None or self._seen.get(file) == changed:
                continue
            self._seen[file] = changed
            name = f"{_VALIDATION}/epoch_{epoch:04d}/{file.name}"
            kept = self._action.ctx.artifacts_dir / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
            self._action.log_visualization(_VALIDATION, f"epoch_{epoch}", index, str(kept))
            self._action.ctx.add_artifact(kept, name)


def _epoch(trainer: Any) -> int:
    """Return the number of the epoch, from 1; the validation after the last one belongs to it."""
    return min(int(trainer.epoch) + 1, int(trainer.epochs))


def _plain(metrics: Any) -> dict[str, float]:
    """Return metrics by short names: `metrics/mAP50-95(B)` is mAP50_95."""
    found: dict[str, float] = {}
    for name, value in dict(metrics).items():
        match = _NAME.fullmatch(name)
        if match is not None and math.isfinite(number := float(value)):
            about = _ABOUT.get(match[2] or "", f"_{match[2]}")
            found[match[1].replace("-", "_").replace("/", "_") + about] = number
    return found


def _wait_for_pictures() -> None:
    """Wait, for a limited time, until the threads that draw are done."""
    for thread in threading.enumerate():
        if "plot_images" in thread.name:
            thread.join(_PICTURE_SECONDS)
