"""The guide's blocks about progress, logs, metrics, errors and cleaning up: mostly single methods."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from seeds.bench import GUIDE, Bench
from seeds.documents import Block

from synapse_core import BaseAction
from synapse_core.actions.train import BaseTrainAction, BaseTrainParams
from synapse_core.errors import ExecutionError, ValidationError
from synapse_core.events import Log, Message

DOCUMENT = GUIDE


class Params(BaseModel):
    epochs: int = 3
    learning_rate: float = 0.1
    input_path: str = ""


def action_of(block: Block, **names: Any) -> type[BaseAction[Params]]:
    """Return an action whose work is the block, which defines execute()."""

    class Action(BaseAction[Params]):
        execute = block.run(**names).execute

    return Action


def progress_of_a_loop(block: Block, bench: Bench) -> None:
    assert bench.run(action_of(block)) == {"processed": 100}
    assert [event.current for event in bench.logger.events] == list(range(1, 101))  # type: ignore[union-attr]


def progress_in_phases(block: Block, bench: Bench) -> None:
    assert bench.run(action_of(block)) == {"status": "done"}
    assert bench.logger.progress("download") == [(done, 100) for done in range(101)]
    assert bench.logger.progress("process") == [(done, 50) for done in range(51)]


def standard_categories(block: Block, bench: Bench) -> None:
    it = block.run(BaseTrainAction=BaseTrainAction, MyParams=BaseTrainParams)

    assert bench.run(it.MyTrainAction) is None
    assert [event.category for event in bench.logger.events] == ["dataset", "train", "model_upload"]


def logged_events(block: Block, bench: Bench) -> None:
    assert bench.run(action_of(block)) == {"status": "done"}
    found = [event for event in bench.logger.events if isinstance(event, Log)]
    assert [(event.event, event.data, event.file) for event in found] == [
        ("train_start", {"epochs": 3, "learning_rate": 0.1}, None),
        ("checkpoint_saved", {"epoch": 50}, "/model/ckpt_50.pt"),
        ("train_complete", {"final_loss": 0.05}, None),
    ]


def recorded_metrics(block: Block, bench: Bench) -> None:
    action = action_of(block, train_epoch=lambda epoch: 1 / (epoch + 1), compute_accuracy=lambda: 0.5)

    assert bench.run(action, {"epochs": 2}) == {"final_loss": 0.5}
    assert bench.logger.metrics("train") == [
        {"loss": 1.0, "accuracy": 0.5, "epoch": 0},
        {"loss": 0.5, "accuracy": 0.5, "epoch": 1},
    ]


def messages(block: Block, bench: Bench) -> None:
    with pytest.warns(DeprecationWarning, match="level="):
        assert bench.run(action_of(block)) == {"status": "done"}
    told = [(event.text, event.level) for event in bench.logger.events if isinstance(event, Message)]
    assert told == [
        ("Starting training...", "info"),
        ("Training complete!", "success"),
        ("Low accuracy detected", "warning"),
    ]
    assert [(event.event, event.level) for event in bench.logger.events if isinstance(event, Log)] == [
        ("dev_event", "debug")
    ]


def failures(block: Block, bench: Bench) -> None:
    def process_data(path: str) -> dict[str, int]:
        return {"characters": len(Path(path).read_text())}

    action = action_of(block, Path=Path, process_data=process_data)

    assert bench.run(action, {"input_path": str(bench.write("data.txt", "four"))}) == {"characters": 4}
    with pytest.raises(ValidationError, match="Input not found: nowhere"):
        bench.run(action, {"input_path": "nowhere"})
    with pytest.raises(ExecutionError, match=r"Processing failed: .*Is a directory") as failed:
        bench.run(action, {"input_path": "."})
    assert isinstance(failed.value.__cause__, IsADirectoryError)


def cleaning_up(block: Block, bench: Bench) -> None:
    made: list[str] = []

    class Watched:
        @staticmethod
        def mkdtemp() -> str:
            made.append(tempfile.mkdtemp(dir=bench.folder))
            return made[-1]

    assert bench.run(action_of(block, Path=Path, tempfile=Watched, shutil=shutil)) == {"status": "done"}
    assert len(made) == 1
    assert not Path(made[0]).exists()


CASES = {
    28: progress_of_a_loop,
    29: progress_in_phases,
    30: standard_categories,
    31: logged_events,
    32: recorded_metrics,
    33: messages,
    35: failures,
    36: cleaning_up,
}
