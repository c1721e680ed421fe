"""The exceptions: the tree that is drawn is the tree there is, and nothing is lost between processes."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

from synapse_core import errors
from synapse_core.errors import (
    ActionFailed,
    ActionNotFoundError,
    AmbiguousDataset,
    ArchiveError,
    BackendConflict,
    BackendError,
    BackendRejected,
    BackendUnauthorized,
    BackendUnavailable,
    CannotAsk,
    CapabilityError,
    Conflict,
    DatasetError,
    DeploymentFailed,
    DeploymentNotFound,
    DeploymentUnavailable,
    DiskFull,
    ExecutionError,
    InferenceFailed,
    InputsRejected,
    InvalidAnswer,
    InvalidConfig,
    InvalidDataset,
    InvalidMetadata,
    InvalidModelToken,
    InvalidRequest,
    InvalidResult,
    InvalidStorageName,
    LossyConversion,
    MissingDependency,
    ModelLoadError,
    NoBackend,
    NotFound,
    PluginError,
    PluginLoadError,
    PluginNotFound,
    ProviderNotFound,
    RateLimited,
    RayUnavailable,
    RecordNotFound,
    RunFailed,
    RunNotFound,
    RunStopped,
    SchemaIncompatibleError,
    SecretInPlugin,
    StepFailed,
    StorageConfigError,
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
    SynapseError,
    Unavailable,
    UnknownConversion,
    UnknownFormat,
    UnrecognisedDataset,
    UnsafeMetadata,
    UploadError,
    ValidationError,
    did_you_mean,
    nearest,
)


def all_classes() -> set[type]:
    return {
        member
        for member in vars(errors).values()
        if inspect.isclass(member)
        and issubclass(member, BaseException)
        and member.__module__.startswith(errors.__name__)
    }


def drawn() -> dict[str, tuple[str | None, str]]:
    """Return the tree of the docstring: name -> (the name above it, code)."""
    found: dict[str, tuple[str | None, str]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ([│├└─ ]*)(\w+)\*?\s{2,}(\(.*?\)|\w+)", line):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            found[match[2]] = (above.get(depth - 1), match[3])
    return found


def test_the_drawn_tree_is_the_tree_there_is():
    classes = {kind.__name__: kind for kind in all_classes()}

    assert drawn().keys() == classes.keys()
    for name, (parent, _) in drawn().items():
        if name == "RunStopped":
            assert classes[name].__bases__ == (BaseException,)
        elif parent is not None:
            assert classes[name].__bases__[0].__name__ == parent, name


def test_the_drawn_codes_are_the_codes_there_are():
    for kind in all_classes() - {RunFailed, ActionFailed}:
        assert kind.code == drawn()[kind.__name__][1]  # type: ignore[attr-defined]


def test_every_class_has_a_code_of_its_own():
    codes = [kind.code for kind in all_classes()]  # type: ignore[attr-defined]

    assert len(set(codes)) == len(codes)


def test_some_are_of_another_kind_as_well():
    assert issubclass(StepFailed, RuntimeError)
    assert issubclass(ActionNotFoundError, PluginError)
    assert not issubclass(RunStopped, Exception)


EXAMPLES: list[SynapseError] = [
    SynapseError("m", {"a": 1}, hint="h", retryable=True),
    PluginError("m", {"a": 1}, hint="h"),
    ValidationError("m", problems=[{"path": "a", "message": "x"}], hint="h"),
    InvalidConfig("m", problems=[{"line": 3}], hint="h"),
    PluginLoadError("m", hint="h"),
    MissingDependency("torch", "shapes"),
    ExecutionError("m", {"a": 1}, hint="h"),
    StepFailed("train", "no space"),
    ActionFailed("train", "m", {"a": 1}, code="execution_failed", hint="h", retryable=True),
    SchemaIncompatibleError("m", hint="h"),
    InvalidResult("m", hint="h"),
    UnsafeMetadata("m", hint="h"),
    InvalidMetadata("m", hint="h"),
    ArchiveError("m", {"limit": 1}, hint="h"),
    NotFound("m", hint="h"),
    PluginNotFound("helo", ["hello", "shapes"]),
    ActionNotFoundError("hello", "gret", ["greet"]),
    RunNotFound("r-1", ["r-2"]),
    UnknownFormat("yoko", ["yolo"]),
    UnknownConversion("yolo", "coco", ["dm_v2 -> yolo"]),
    DatasetError("m", hint="h"),
    UnrecognisedDataset("m", hint="h"),
    AmbiguousDataset("m", hint="h"),
    InvalidDataset("m", hint="h"),
    LossyConversion("m", {"reasons": {}}, hint="h"),
    InvalidRequest("m", {"asked": "x"}, hint="h"),
    Conflict("m", hint="h"),
    RunFailed("r-1", "failed", "m", code="step_failed", hint="h"),
    Unavailable("m", hint="h", retryable=False),
    RayUnavailable("m", hint="h"),
    DiskFull("home", "no space"),
    SecretInPlugin(Path("shapes"), [".env"]),
    DeploymentNotFound("digts", ["digits", "shapes"]),
    DeploymentFailed("m", {"version": 2}, hint="h"),
    DeploymentUnavailable("m", hint="h"),
    InferenceFailed("m", hint="h"),
    CannotAsk("m", hint="h"),
    InputsRejected("m", {"status": 422}, hint="h"),
    InvalidModelToken("m", hint="h"),
    ModelLoadError("m", {"model": "3"}),
    NoBackend("train"),
    BackendError("m", {"a": 1}, hint="h"),
    RecordNotFound("model", 4, hint="h"),
    BackendRejected("m", hint="h"),
    BackendConflict("m", hint="h"),
    BackendUnauthorized("m", hint="h"),
    InvalidAnswer("m", hint="h"),
    BackendUnavailable("m", hint="h"),
    RateLimited("m", hint="h"),
    StorageError("m", {"a": 1}, hint="h"),
    StorageConfigError("m", hint="h"),
    ProviderNotFound("ftp", ["s3", "sftp"]),
    InvalidStorageName("'../x'", "it leads out of the base"),
    StorageNotFound("m", hint="h"),
    StoragePermissionError("m", hint="h"),
    StorageConnectionError("m", hint="h"),
    UploadError("m", hint="h"),
    CapabilityError("m", hint="h"),
]


def test_every_class_is_among_the_examples():
    assert {type(error) for error in EXAMPLES} == all_classes() - {RunStopped}


@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.deepcopy])
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_that_travels_keeps_all_that_it_holds(error: SynapseError, travel):
    there = travel(error)

    assert type(there) is type(error)
    assert vars(there) == vars(error)
    assert (str(there), there.args) == (str(error), error.args)
    for name in ("message", "hint", "details", "retryable", "code"):
        assert getattr(there, name) == getattr(error, name)


def test_a_subclass_with_a_constructor_of_its_own_travels_too():
    there = pickle.loads(pickle.dumps(OutOfQuota(share=3, used=5)))

    assert isinstance(there, OutOfQuota)
    assert (there.message, there.used, there.code) == ("5 of 3 are used.", 5, "out_of_quota")


class OutOfQuota(Unavailable):
    code = "out_of_quota"

    def __init__(self, *, used: float, share: float) -> None:
        super().__init__(f"{used:g} of {share:g} are used.")
        self.used = used


def test_the_text_of_an_error_is_its_message():
    assert str(SynapseError("What happened.", hint="What to do.")) == "What happened."
    assert SynapseError("m").hint is None
    assert SynapseError("m").details == {}


def test_details_are_a_copy():
    details = {"a": 1}
    error = SynapseError("m", details)
    details["a"] = 2

    assert error.details == {"a": 1}


def test_what_can_succeed_later_says_so():
    assert [type(error).__name__ for error in EXAMPLES if type(error).retryable] == [
        "Unavailable",
        "RayUnavailable",
        "DiskFull",
        "DeploymentUnavailable",
        "BackendUnavailable",
        "RateLimited",
        "StorageConnectionError",
    ]
    assert SynapseError("m", retryable=True).retryable
    assert not SynapseError.retryable


def test_a_failed_run_bears_the_code_of_its_failure_and_the_class_keeps_its_own():
    error = RunFailed("r-1", "lost", "m", code="worker_died")

    assert (error.code, error.run_id, error.state) == ("worker_died", "r-1", "lost")
    assert RunFailed("r-2", "failed", "m").code == RunFailed.code == "run_failed"


def test_a_failed_step_tells_its_name_its_reason_and_what_else_went_wrong():
    error = StepFailed("train", "no space")
    error.note_errors(["Rollback failed for step 'load'"])

    assert str(error) == "Step 'train' failed: no space"
    assert error.details == {"step": "train", "errors": ["Rollback failed for step 'load'"]}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PluginNotFound("helo", ["hello", "shapes"]), "Did you mean hello? Known plugins: hello, shapes."),
        (PluginNotFound("x", []), "Known plugins: none."),
        (ActionNotFoundError("hello", "gret", ["greet", "add"]), "it has greet, add. Did you mean greet?"),
        (ActionNotFoundError("hello", "gret", []), "it has none."),
        (RunNotFound("run-abd", ["run-abc", "x"]), "Did you mean run-abc?"),
    ],
)
def test_a_name_that_stands_for_nothing_is_answered_with_what_there_is(error: NotFound, words: str):
    assert words in str(error)
    assert error.hint


def test_of_many_plugins_ten_are_named():
    known = [f"plugin_{index:02}" for index in range(50)]

    assert str(PluginNotFound("zzz", known)).endswith("plugin_08, plugin_09.")


def test_the_nearest_names_come_closest_first_in_their_own_spelling():
    assert nearest("epoch", ["Epochs", "batch", "epo"])[0] == "Epochs"
    assert nearest("zzz", ["epochs"]) == []
    assert nearest("a", []) == []
    assert len(nearest("run", ["run1", "run2", "run3", "run4"])) == 3
    assert did_you_mean("EPOCHS", ["epochs"]) == " Did you mean epochs?"
    assert did_you_mean("zzz", ["epochs"]) == ""
