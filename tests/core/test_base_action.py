"""Actions: what a class says of itself, and what happens around its work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from synapse_core import BaseAction, NoResult, RuntimeContext, base_action
from synapse_core.base_action import list_integrations, register_integration
from synapse_core.enums import PluginCategory
from synapse_core.errors import ExecutionError, InvalidResult, ValidationError
from synapse_core.events import AnyEvent, Message
from synapse_core.loggers import BaseLogger
from synapse_core.steps import BaseStep, BaseStepContext, StepRegistry, StepResult
from synapse_core.types import (
    Dataset,
    DataType,
    DMDataset,
    DMv2Dataset,
    Model,
    ModelWeights,
    YOLODataset,
    are_compatible,
)


class ListLogger(BaseLogger):
    """Keeps the events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[AnyEvent] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)


class TrainParams(BaseModel):
    epochs: int = Field(default=10, ge=1)


class OtherParams(BaseModel):
    name: str = "x"


class Score(BaseModel):
    loss: float
    epochs: int = 0


class Train(BaseAction[TrainParams]):
    action_name = "train"
    category = PluginCategory.NEURAL_NET
    input_type = DMDataset
    output_type = ModelWeights

    def execute(self) -> Any:
        return {"epochs": self.params.epochs}


@pytest.fixture
def context() -> RuntimeContext:
    return RuntimeContext(ListLogger())


# What a class says of itself


def test_nothing_is_said_by_default():
    class Silent(BaseAction[Any]):
        pass

    told = (Silent.action_name, Silent.category, Silent.input_type, Silent.output_type, Silent.params_model)
    assert told == (None,) * 5
    assert Silent.result_model is NoResult


def test_the_params_model_is_the_generic_argument():
    assert Train.params_model is TrainParams


def test_an_explicit_params_model_wins():
    class Explicit(BaseAction[TrainParams]):
        params_model = OtherParams

    assert Explicit.params_model is OtherParams


def test_a_subclass_of_a_concrete_action_inherits_its_model():
    class Finer(Train):
        pass

    class Other(Train, BaseAction[OtherParams]):
        pass

    assert Finer.params_model is TrainParams
    assert Other.params_model is OtherParams


P = TypeVar("P")
M = TypeVar("M")


class Specialised(BaseAction[P]):
    """A base class for actions of one kind, its parameters still open."""


class Store(Generic[M]):
    """Something else that is generic."""


def test_a_base_class_in_between_hands_the_argument_on():
    class Mine(Specialised[TrainParams]):
        pass

    assert Specialised.params_model is None
    assert Mine.params_model is TrainParams


def test_the_argument_of_another_generic_base_is_not_the_parameters():
    class Mine(Store[OtherParams], BaseAction[TrainParams]):
        pass

    class Later(Store[OtherParams], Train):
        pass

    assert Mine.params_model is TrainParams
    assert Later.params_model is TrainParams


@pytest.mark.parametrize("argument", [Any, dict, "TrainParams", None])
def test_an_argument_that_is_no_model_is_none(argument: Any):
    class Loose(BaseAction[argument]):
        def execute(self) -> Any:
            return self.params

    assert Loose.params_model is None


def test_without_a_model_the_parameters_are_the_mapping_as_it_is(context: RuntimeContext):
    class Loose(BaseAction[Any]):
        def execute(self) -> Any:
            return self.params

    given = {"a": 1}
    assert Loose.dispatch(given, context) == {"a": 1}
    assert Loose.dispatch(given, context) is not given


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        (DMDataset, DMDataset, True),
        (DMv2Dataset, DMDataset, True),
        (DMDataset, DMv2Dataset, True),
        (Dataset, DataType, True),
        (DMDataset, YOLODataset, False),
        (Dataset, Model, False),
    ],
)
def test_data_types_are_compatible_where_one_is_a_kind_of_the_other(
    one: type[DataType], other: type[DataType], fits: bool
):
    assert are_compatible(one, other) is fits


# Running


def test_parameters_are_validated_and_handed_over(context: RuntimeContext):
    assert Train.dispatch({"epochs": "3"}, context) == {"epochs": 3}
    assert Train.dispatch({}, context) == {"epochs": 10}


def test_wrong_parameters_are_told_before_anything_is_made(context: RuntimeContext):
    class Never(BaseAction[TrainParams]):
        def __init__(self, params: TrainParams, ctx: RuntimeContext) -> None:
            pytest.fail("the action must not be made")

    with pytest.raises(ValidationError) as caught:
        Never.dispatch({"epochs": 0}, context)

    assert [problem["path"] for problem in caught.value.problems] == ["epochs"]


def test_the_validation_of_parameters_knows_the_backend(context: RuntimeContext):
    class Storage(BaseModel):
        storage: int

        @field_validator("storage")
        @classmethod
        def exists(cls, value: int, info: ValidationInfo) -> int:
            if info.context is None or value not in info.context["client"]:
                raise ValueError("there is no such storage")
            return value

    class Export(BaseAction[Storage]):
        def execute(self) -> int:
            return self.params.storage

    context.client = [1, 2]
    assert Export.dispatch({"storage": 2}, context) == 2
    with pytest.raises(ValidationError, match="there is no such storage"):
        Export.dispatch({"storage": 3}, context)


def test_an_action_has_its_parameters_its_context_and_its_logger(context: RuntimeContext):
    action = Train(TrainParams(epochs=2), context)

    assert (action.params.epochs, action.ctx, action.logger) == (2, context, context.logger)
    assert action.run() == {"epochs": 2}


def test_an_action_that_does_nothing_says_what_is_missing(context: RuntimeContext):
    class Nothing(BaseAction[Any]):
        pass

    with pytest.raises(ExecutionError, match="Nothing does nothing") as caught:
        Nothing.dispatch({}, context)
    assert "Define execute" in str(caught.value.hint)


class Note(BaseStep[BaseStepContext]):
    """Says that it ran."""

    name = "note"
    progress_weight = 1.0

    def execute(self, context: BaseStepContext) -> StepResult:
        context.log_message("noted")
        return StepResult()


class Stepped(BaseAction[Any]):
    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        registry.register(Note())


def test_where_steps_are_registered_they_are_the_work(context: RuntimeContext):
    class Both(Stepped):
        def execute(self) -> Any:
            pytest.fail("the steps are the work")

    assert Both.dispatch({}, context) == {"success": True, "steps_executed": 1, "steps_total": 1}


def test_an_action_of_steps_can_be_executed_too(context: RuntimeContext):
    assert Stepped({}, context).execute()["steps_executed"] == 1


# The result


class Returning(BaseAction[Any]):
    """Returns what it is given."""

    result_model = Score

    def execute(self) -> Any:
        return self.params["value"]


def warnings_of(context: RuntimeContext) -> list[str]:
    return [event.text for event in context.logger.events if isinstance(event, Message)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value", [Score(loss=1), {"loss": 1.5}, {"loss": 1, "more": 2}, MappingProxyType({"loss": 1})]
)
def test_a_result_that_fits_its_model_is_returned_as_it_is(context: RuntimeContext, value: Any):
    assert Returning.dispatch({"value": value}, context) is value
    assert context.result_warnings == []
    assert warnings_of(context) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"loss": "low"},
            'loss: Input should be a valid number, unable to parse string as a number; sent "low"',
        ),
        ({}, "loss: Field required"),
        (3, "the result is a int"),
        (None, "the result is a NoneType"),
        ([1], "the result is a list"),
        (TrainParams(), "the result is a TrainParams"),
    ],
)
def test_a_result_that_does_not_fit_is_warned_of_and_returned_all_the_same(
    context: RuntimeContext, value: Any, words: str
):
    assert Returning.dispatch({"value": value}, context) is value

    (warning,) = context.result_warnings
    assert warning.startswith(words)
    assert warnings_of(context) == [f"Result validation warning for Score: {warning}"]


def test_without_a_model_any_result_is_right(context: RuntimeContext):
    class Free(Returning):
        result_model = NoResult

    assert Free.dispatch({"value": 3}, context) == 3
    assert warnings_of(context) == []


@pytest.mark.parametrize("value", [{"loss": "low"}, 3, None])
def test_a_strict_run_fails_for_a_result_that_does_not_fit(context: RuntimeContext, value: Any):
    with pytest.raises(InvalidResult, match="does not fit Score") as caught:
        Returning.dispatch({"value": value}, context, strict=True)
    assert caught.value.details["problems"]


def test_a_class_can_be_strict_itself(context: RuntimeContext):
    class Strict(Returning):
        strict_results = True

    assert Strict.dispatch({"value": {"loss": 1}}, context) == {"loss": 1}
    with pytest.raises(InvalidResult):
        Strict.dispatch({"value": 3}, context)


def test_the_warnings_of_a_large_result_are_counted(context: RuntimeContext):
    class Rows(BaseModel):
        rows: list[int]

    class Large(Returning):
        result_model = Rows

    value = {"rows": ["x"] * 5_000}
    assert Large.dispatch({"value": value}, context) is value

    assert len(context.result_warnings) < 50
    assert context.result_warnings[-1] == "and 4980 more problems"


def test_a_result_model_that_breaks_down_does_not_undo_the_work(context: RuntimeContext):
    class Broken(BaseModel):
        loss: float

        @field_validator("loss")
        @classmethod
        def look(cls, value: float) -> float:
            raise KeyError("table")

    class Work(Returning):
        result_model = Broken

    assert Work.dispatch({"value": {"loss": 1}}, context) == {"loss": 1}
    assert context.result_warnings == ["it cannot be checked: KeyError: 'table'"]


def test_a_result_model_without_a_json_schema_is_checked_too(context: RuntimeContext):
    class Handle:
        pass

    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        handle: Handle

    class Work(Returning):
        result_model = Odd

    assert Work.dispatch({"value": {"handle": 3}}, context) == {"handle": 3}
    assert len(context.result_warnings) == 1


# Autolog


@pytest.fixture
def integrations(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A table of integrations of this test's own."""
    table: dict[str, Any] = {}
    monkeypatch.setattr(base_action, "_integrations", table)
    yield table


@pytest.mark.usefixtures("integrations")
def test_an_integration_is_given_the_action(context: RuntimeContext):
    seen: list[Any] = []
    register_integration("mine", seen.append)
    action = Train(TrainParams(), context)

    action.autolog("mine")

    assert seen == [action]
    assert list_integrations() == ["mine"]


@pytest.mark.usefixtures("integrations")
def test_an_integration_that_is_not_there_names_those_that_are(context: RuntimeContext):
    action = Train(TrainParams(), context)
    with pytest.raises(ValueError, match="no integration for 'mine'; known: none"):
        action.autolog("mine")

    register_integration("b", print)
    register_integration("a", print)
    with pytest.raises(ValueError, match="known: a, b"):
        action.autolog("mine")


@pytest.mark.usefixtures("integrations")
def test_an_integration_is_imported_when_it_is_first_used(
    context: RuntimeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "autolog_of_mine.py").write_text(
        "def activate(action):\n    action.log_message('watching')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    register_integration("mine", "autolog_of_mine:activate")
    assert "autolog_of_mine" not in sys.modules

    Train(TrainParams(), context).autolog("mine")

    assert warnings_of(context) == ["watching"]
    del sys.modules["autolog_of_mine"]


@pytest.mark.usefixtures("integrations")
def test_a_framework_that_is_not_installed_is_an_import_error(context: RuntimeContext):
    register_integration("mine", "a_package_that_nobody_has:activate")

    with pytest.raises(ImportError, match="a_package_that_nobody_has"):
        Train(TrainParams(), context).autolog("mine")
