"""The guide's blocks about actions, their parameters and their results."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from seeds.bench import GUIDE, Bench
from seeds.documents import Block, block

from synapse_core import BaseAction
from synapse_core.context import RuntimeContext
from synapse_core.enums import PluginCategory
from synapse_core.errors import ValidationError

DOCUMENT = GUIDE


class FieldParams(BaseModel):
    some_field: int = 1


class ConvertParams(BaseModel):
    file_path: str


class ConvertResult(BaseModel):
    output_path: str
    converted: bool


def train_epoch(epoch: int, lr: float) -> float:
    return lr / (epoch + 1)


def convert_file(path: str, input_format: str = "a", output_format: str = "b") -> str:
    return path.removesuffix(input_format) + output_format


def class_based(block: Block, bench: Bench) -> None:
    it = block.run(train_epoch=train_epoch)
    result = bench.run(it.TrainAction, {"epochs": 4, "learning_rate": 0.5})

    assert result == it.TrainResult(weights_path="/model/weights.pt", final_loss=0.125, epochs_completed=4)
    assert bench.logs() == [("train_start", {"epochs": 4, "lr": 0.5})]
    assert bench.logger.progress("train") == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert bench.logger.metrics("train")[-1] == {"loss": 0.125, "epoch": 3}
    action = it.TrainAction
    assert (action.action_name, action.category) == ("train", PluginCategory.NEURAL_NET)
    assert (action.params_model, action.result_model) == (it.TrainParams, it.TrainResult)
    with pytest.raises(ValidationError, match="learning_rate"):
        bench.run(it.TrainAction, {"epochs": 0, "learning_rate": 1})


def what_an_action_has(block: Block, bench: Bench) -> None:
    bench.use_ultralytics()
    it = block.run(BaseAction=BaseAction, MyParams=FieldParams)

    assert bench.run(it.MyAction, {"some_field": 7}) == {"status": "done"}
    assert bench.logs() == [("event", {"data": 7})]
    assert bench.logger.progress("process") == [(50, 100)]
    assert bench.logger.metrics("eval") == [{"accuracy": 0.95}]


def function_based(block: Block, bench: Bench) -> None:
    with pytest.warns(DeprecationWarning, match="BaseAction"):
        it = block.run(convert_file=convert_file)
    params = {"file_path": "picture.bmp", "input_format": "bmp", "output_format": "png"}

    assert bench.run(it.convert, params) == it.ConvertResult(output_path="picture.png", converted=True)
    assert [event.percent for event in bench.logger.events] == [0, 100]  # type: ignore[union-attr]
    with pytest.raises(ValidationError, match="file_path"):
        bench.run(it.convert, {"input_format": "bmp", "output_format": "png"})


def before_the_migration(block: Block, bench: Bench) -> None:
    with pytest.warns(DeprecationWarning, match="BaseAction"):
        it = block.run(ConvertParams=ConvertParams, ConvertResult=ConvertResult, convert_file=convert_file)
    wanted = ConvertResult(output_path="pictureb", converted=True)

    assert bench.run(it.convert, {"file_path": "picturea"}) == wanted
    # A function stays one: it can be called by itself.
    assert it.convert(ConvertParams(file_path="picturea"), RuntimeContext(bench.logger)) == wanted


def after_the_migration(block: Block, bench: Bench) -> None:
    it = block.run(ConvertParams=ConvertParams, ConvertResult=ConvertResult, convert_file=convert_file)
    result = bench.run(it.ConvertAction, {"file_path": "picturea"})

    assert result == ConvertResult(output_path="pictureb", converted=True)
    assert [event.percent for event in bench.logger.events] == [0, 100]  # type: ignore[union-attr]


def checked_parameters(block: Block, bench: Bench) -> None:
    it = block.run()

    class Action(BaseAction[it.TrainParams]):  # type: ignore[name-defined]
        def execute(self) -> Any:
            return self.params.model_dump()

    assert bench.run(Action, {"dataset": 5, "augmentations": ["flip"]}) == {
        "dataset": 5,
        "epochs": 100,
        "learning_rate": 0.001,
        "batch_size": 32,
        "model_name": "yolov8n",
        "augmentations": ["flip"],
    }
    for wrong, told in (
        ({}, "dataset"),
        ({"dataset": 0}, "dataset"),
        ({"dataset": 1, "model_name": "resnet"}, "model_name"),
        ({"dataset": 1, "augmentations": ["flip", "blur"]}, "Invalid augmentations: {'blur'}"),
        ({"dataset": 1, "batch_size": 512, "epochs": 2000}, r"Large batch \+ many epochs may OOM"),
    ):
        with pytest.raises(ValidationError, match=told):
            bench.run(Action, wrong)


def use_of_parameters(block_: Block, bench: Bench) -> None:
    params = block(GUIDE, 24).run().TrainParams
    it = block_.run(BaseAction=BaseAction, TrainParams=params)

    assert bench.run(it.MyAction, {"dataset": 1}) == {"trained": True}
    with pytest.raises(ValidationError, match="epochs"):
        bench.run(it.MyAction, {"dataset": 1, "epochs": 10001})


def checked_results(block: Block, bench: Bench) -> None:
    it = block.run(BaseAction=BaseAction, TrainParams=FieldParams)
    result = bench.run(it.MyAction)

    assert (result.metrics, result.epochs_completed) == ({"accuracy": 0.95}, 100)
    assert isinstance(result, it.TrainResult)
    assert bench.logger.texts() == ""


def a_result_that_does_not_fit(block_: Block, bench: Bench) -> None:
    model = block(GUIDE, 26).run(BaseAction=BaseAction, TrainParams=FieldParams).TrainResult
    it = block_.run(BaseAction=BaseAction, MyParams=FieldParams, TrainResult=model)

    assert bench.run(it.MyAction) == {"weights_path": "/model.pt"}
    told = [event for event in bench.logger.events if getattr(event, "level", "") == "warning"]
    assert len(told) == 2  # final_loss and epochs_completed are missing
    assert all("Result validation warning for TrainResult: " in event.text for event in told)  # type: ignore[union-attr]


CASES = {
    1: class_based,
    2: what_an_action_has,
    3: function_based,
    4: before_the_migration,
    5: after_the_migration,
    24: checked_parameters,
    25: use_of_parameters,
    26: checked_results,
    27: a_result_that_does_not_fit,
}
