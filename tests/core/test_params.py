"""Parameters: every problem is told at once, with its place, what was sent and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from synapse_core.errors import ValidationError
from synapse_core.params import check, describe_schema, params_schema, validate


class Speed(Enum):
    SLOW = "slow"
    FAST = "fast"


class Augmentation(BaseModel):
    kind: Literal["flip", "rotate"]
    degrees: float = Field(default=0, ge=-180, le=180)


class TrainParams(BaseModel):
    dataset: int = Field(gt=0)
    epochs: int = Field(default=10, ge=1, le=1000)
    rate: float = Field(default=0.001, gt=0, lt=1)
    model_name: str = Field(default="yolov8n", pattern=r"^yolov8[nsmlx]$")
    speed: Speed = Speed.SLOW
    checkpoint: int | None = Field(default=None, ge=1)
    target: int | str = 1
    tags: list[str] = Field(default=[], max_length=3)
    augmentations: list[Augmentation] = []
    first: Augmentation | None = None
    by_split: dict[str, Augmentation] = {}


def problems(call: Callable[[], Any]) -> list[dict[str, Any]]:
    with pytest.raises(ValidationError) as caught:
        call()
    assert caught.value.details["problems"] == caught.value.problems
    return caught.value.problems


def problem(model: type[BaseModel], **params: Any) -> dict[str, Any]:
    """Return the one problem that `check` finds, and that `validate` finds the same."""
    (found,) = problems(lambda: check(model, params))
    return found


def test_parameters_that_fit_become_an_instance():
    params = validate(TrainParams, {"dataset": 1, "augmentations": [{"kind": "flip"}]})

    assert params == TrainParams(dataset=1, augmentations=[Augmentation(kind="flip")])
    assert check(TrainParams, {"dataset": 1, "speed": "fast"}) is None


def test_without_a_model_anything_fits():
    assert check(None, {"anything": object()}) is None


def test_all_problems_are_told_at_once_in_a_text_that_stands_alone():
    with pytest.raises(ValidationError) as caught:
        check(TrainParams, {"epochs": 0, "epoch": 5, "rate": "fast", "augmentations": [{"kind": "blur"}]})

    assert str(caught.value) == (
        "5 problems with the parameters (TrainParams):\n"
        "- epoch: there is no such parameter; sent 5; allowed: dataset, epochs, rate, model_name, speed, "
        "checkpoint, target, tags, augmentations, first, by_split. Did you mean epochs?\n"
        "- dataset: Field required; allowed: integer above 0\n"
        "- epochs: Input should be greater than or equal to 1; sent 0; allowed: integer from 1 to 1000\n"
        '- rate: Input should be a valid number, unable to parse string as a number; sent "fast"; '
        "allowed: number above 0 below 1\n"
        "- augmentations.0.kind: Input should be 'flip' or 'rotate'; sent \"blur\"; "
        'allowed: one of "flip", "rotate"'
    )
    assert caught.value.code == "invalid_params"


def test_one_problem_is_not_called_problems():
    with pytest.raises(ValidationError, match=r"^1 problem with the parameters"):
        check(TrainParams, {})


@pytest.mark.parametrize(
    ("params", "path", "sent", "allowed"),
    [
        ({"epochs": 1001}, "epochs", "1001", "integer from 1 to 1000"),
        ({"model_name": "yolo"}, "model_name", '"yolo"', "string matching ^yolov8[nsmlx]$"),
        ({"speed": "medium"}, "speed", '"medium"', 'one of "slow", "fast"'),
        ({"checkpoint": 0}, "checkpoint", "0", "integer of at least 1 or null"),
        ({"target": []}, "target", "[]", "integer or string"),
        ({"tags": ["a", 1]}, "tags.1", "1", "string"),
        ({"tags": list("abcd")}, "tags", '["a", "b", "c", "d"]', "array of string with 0 to 3 items"),
        (
            {"augmentations": [{"kind": "flip"}, {"kind": "rotate", "degrees": 270}]},
            "augmentations.1.degrees",
            "270",
            "number from -180 to 180",
        ),
        ({"first": {"kind": "blur"}}, "first.kind", '"blur"', 'one of "flip", "rotate"'),
        ({"by_split": {"train": {"kind": 3}}}, "by_split.train.kind", "3", 'one of "flip", "rotate"'),
        ({"dataset": None}, "dataset", "null", "integer above 0"),
    ],
)
def test_a_problem_tells_its_place_what_was_sent_and_what_is_allowed(
    params: dict[str, Any], path: str, sent: str, allowed: str
):
    found = problem(TrainParams, **{"dataset": 1, **params})

    assert (found["path"], found["sent"], found["allowed"]) == (path, sent, allowed)
    assert found["message"]
    assert found["type"]
    with pytest.raises(ValidationError) as caught:
        validate(TrainParams, {"dataset": 1, **params})
    assert caught.value.problems == [found]


def test_of_what_is_missing_nothing_was_sent():
    found = problem(TrainParams)

    assert (found["path"], found["type"], "sent" in found) == ("dataset", "missing", False)


def test_a_long_value_is_told_short():
    assert len(problem(TrainParams, dataset="x" * 1_000_000)["sent"]) == 80


@pytest.mark.parametrize(
    ("params", "path", "near"),
    [
        ({"epcohs": 5}, "epcohs", "epochs"),
        ({"augmentations": [{"kind": "flip", "degree": 1}]}, "augmentations.0.degree", "degrees"),
        ({"first": {"kind": "flip", "degree": 1}}, "first.degree", "degrees"),
        ({"by_split": {"train": {"kind": "flip", "degree": 1}}}, "by_split.train.degree", "degrees"),
    ],
)
def test_an_unknown_key_at_any_depth_is_told_with_the_nearest(params: dict[str, Any], path: str, near: str):
    found = problem(TrainParams, **{"dataset": 1, **params})

    assert (found["path"], found["type"], found["did_you_mean"]) == (path, "unknown_key", near)
    assert near in found["allowed"]


def test_a_library_call_may_pass_keys_that_the_model_ignores():
    assert validate(TrainParams, {"dataset": 1, "epcohs": 5}) == TrainParams(dataset=1)


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = 1


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    epochs: int = 1
    inner: Closed = Closed()


def test_a_model_that_forbids_other_keys_tells_the_same_in_both_ways():
    found = problem(Closed, epcohs=5)

    assert found == {
        "path": "epcohs",
        "message": "there is no such parameter",
        "type": "unknown_key",
        "sent": "5",
        "allowed": "epochs",
        "did_you_mean": "epochs",
    }
    assert problems(lambda: validate(Closed, {"epcohs": 5})) == [found]


def test_a_model_that_takes_other_keys_is_given_them_and_its_parts_are_checked():
    assert check(Open, {"anything": 1}) is None
    assert problem(Open, anything=1, inner={"epoch": 2})["path"] == "inner.epoch"


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    dataset: int = Field(validation_alias=AliasChoices("dataset", "dataset_id"))
    rate: float = Field(default=0.1, alias="learningRate")


@pytest.mark.parametrize(
    "params",
    [{"dataset": 1}, {"dataset_id": 1}, {"dataset": 1, "rate": 1}, {"dataset": 1, "learningRate": 1}],
)
def test_every_name_that_a_field_goes_by_is_known(params: dict[str, Any]):
    assert check(Named, params) is None


class Flattened(BaseModel):
    epochs: int = 1

    @model_validator(mode="before")
    @classmethod
    def flatten(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {
            **given.get("hyperparameters", {}),
            **{k: v for k, v in given.items() if k != "hyperparameters"},
        }


def test_a_key_that_the_models_own_code_takes_is_known():
    assert check(Flattened, {"hyperparameters": {"epochs": 3}}) is None
    assert problem(Flattened, hyperparameters={"epoch": 3})["path"] == "epoch"
    assert problem(Flattened, hyperparameters={"epochs": "x"})["path"] == "epochs"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    any_pet: Cat | Dog | None = None


def test_the_members_of_a_union_are_no_part_of_a_path():
    assert problem(Owner, pet={"kind": "cat", "lives": "x"})["path"] == "pet.lives"
    assert problem(Owner, pet={"kind": "cat", "live": 1})["path"] == "pet.live"
    assert check(Owner, {"pet": {"kind": "dog", "tricks": ["roll"]}}) is None
    assert check(Owner, {"any_pet": {"kind": "dog", "tricks": ["roll"]}}) is None
    paths = {found["path"] for found in problems(lambda: check(Owner, {"any_pet": {"kind": "cow"}}))}
    assert paths == {"any_pet.kind"}


class Checked(BaseModel):
    names: list[str] = []
    low: int = 0
    high: int = 1

    @field_validator("names")
    @classmethod
    def known(cls, names: list[str]) -> list[str]:
        if "blur" in names:
            raise ValueError("blur is not known")
        return names

    @model_validator(mode="after")
    def ordered(self) -> Checked:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def test_the_findings_of_the_models_own_validators_are_told():
    assert problem(Checked, names=["blur"])["message"] == "Value error, blur is not known"
    whole = problem(Checked, low=3)
    assert (whole["path"], whole["message"]) == ("", "Value error, low is above high")
    assert "allowed" not in whole
    with pytest.raises(ValidationError, match="- parameters: Value error, low is above high"):
        check(Checked, {"low": 3})


class LookedUp(BaseModel):
    storage: int

    @field_validator("storage")
    @classmethod
    def exists(cls, storage: int, info: ValidationInfo) -> int:
        client = (info.context or {})["client"]
        if client is not None and storage not in client:
            raise ValueError("there is no such storage")
        return storage


def test_a_validator_may_look_things_up_on_the_backend():
    assert validate(LookedUp, {"storage": 3}, {3}) == LookedUp.model_construct(storage=3)
    (found,) = problems(lambda: validate(LookedUp, {"storage": 4}, {3}))
    assert found["message"] == "Value error, there is no such storage"


class Handle:
    """A type that JSON knows nothing of."""


class WithoutSchema(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    epochs: int = 1
    handle: Handle | None = None


def test_problems_are_told_even_where_the_model_has_no_json_schema():
    (found,) = problems(lambda: validate(WithoutSchema, {"epochs": "x", "handle": None}))

    assert (found["path"], found["sent"]) == ("epochs", '"x"')


class Doubled(BaseModel):
    n: Annotated[int, BeforeValidator(lambda value: value * 2)] = 1


def test_checking_changes_nothing_of_what_was_sent():
    params = {"n": 2, "deep": {"a": 1}}
    with pytest.raises(ValidationError):
        check(Doubled, params)

    assert params == {"n": 2, "deep": {"a": 1}}


def test_the_schema_is_what_a_caller_may_send():
    schema = params_schema(TrainParams)

    assert schema["required"] == ["dataset"]
    assert schema["properties"]["epochs"] == {
        "default": 10,
        "maximum": 1000,
        "minimum": 1,
        "title": "Epochs",
        "type": "integer",
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"const": "a"}, '"a"'),
        ({"enum": [1, "a", None]}, 'one of 1, "a", null'),
        ({"type": "integer", "minimum": 1}, "integer of at least 1"),
        ({"type": "integer", "maximum": 1}, "integer of at most 1"),
        ({"type": "integer", "minimum": 0}, "integer of at least 0"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "number above 0 below 1"),
        ({"type": "integer", "multipleOf": 32}, "integer in multiples of 32"),
        ({"type": "string", "minLength": 1}, "string with 1 to any number of characters"),
        ({"type": "string", "maxLength": 5}, "string with 0 to 5 characters"),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "array of integer with 2 to any number of items",
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({}, "any value"),
    ],
)
def test_what_is_allowed_is_said_in_words(schema: dict[str, Any], words: str):
    assert describe_schema(schema, schema) == words
