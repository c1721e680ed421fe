"""@action: a function that runs wherever an action class does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from synapse_core import BaseAction, NoResult, PluginDiscovery, RuntimeContext, action, run_plugin
from synapse_core.enums import PluginCategory
from synapse_core.errors import ExecutionError, ValidationError
from synapse_core.events import Failed, Progress, Succeeded, decode_line
from synapse_core.executors import LocalExecutor
from synapse_core.loggers import NoOpLogger
from synapse_core.run_folder import ActionRef, RunFolder, RunRequest
from synapse_core.stop import StopSignal
from synapse_core.worker import run_request


class ConvertParams(BaseModel):
    path: str
    quality: int = Field(default=90, ge=1, le=100)


class ConvertResult(BaseModel):
    output_path: str


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)

    @action(
        name="convert",
        description="Convert a file",
        params=ConvertParams,
        result=ConvertResult,
        category=PluginCategory.EXPORT,
    )
    def convert_file(params: ConvertParams, context: RuntimeContext) -> Any:
        """Says more."""
        context.set_progress(1, 1)
        if params.path == "broken":
            raise OSError("no such file")
        if params.path == "nowhere":
            return {}
        return {"output_path": f"{params.path}@{params.quality}"}

    @action()
    def plain(params: dict[str, Any], context: RuntimeContext) -> Any:
        """What it does."""
        return params


def test_decorating_warns_once_at_the_place_of_the_decoration():
    with pytest.warns(DeprecationWarning, match="subclass synapse_core.BaseAction") as caught:

        @action()
        def mine(params: Any, context: Any) -> None:
            return None

    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]


def test_a_function_bears_what_was_said_of_it():
    marks = {name: getattr(convert_file, name) for name in vars(convert_file) if name != "_action_class"}

    assert marks == {
        "_is_action": True,
        "_action_name": "convert",
        "_action_description": "Convert a file",
        "_action_params": ConvertParams,
        "_action_result": ConvertResult,
        "_action_category": PluginCategory.EXPORT,
    }


def test_nothing_need_be_said():
    assert (plain._action_name, plain._action_params, plain._action_result) == ("plain", None, None)  # type: ignore[attr-defined]
    assert plain._action_category is None  # type: ignore[attr-defined]


def test_a_function_stays_callable_as_it_is():
    params = ConvertParams(path="a")

    assert convert_file(params, RuntimeContext(NoOpLogger())) == {"output_path": "a@90"}
    assert convert_file.__name__ == "convert_file"


def test_its_class_says_the_same():
    found = convert_file._action_class  # type: ignore[attr-defined]

    assert issubclass(found, BaseAction)
    assert (found.action_name, found.category) == ("convert", PluginCategory.EXPORT)
    assert (found.params_model, found.result_model) == (ConvertParams, ConvertResult)
    assert found.__doc__ == "Convert a file"
    assert plain._action_class.result_model is NoResult  # type: ignore[attr-defined]
    assert plain._action_class.__doc__ == "What it does."  # type: ignore[attr-defined]


def executor() -> LocalExecutor:
    return LocalExecutor(env={}, logger=NoOpLogger())


def test_a_function_runs_like_a_class():
    assert executor().execute(convert_file, {"path": "a", "quality": "50"}) == {"output_path": "a@50"}
    assert executor().execute(plain, {"a": 1}) == {"a": 1}


def test_its_parameters_are_checked_before_it_is_called():
    with pytest.raises(ValidationError) as caught:
        executor().execute(convert_file, {"quality": 0})

    assert [problem["path"] for problem in caught.value.problems] == ["path", "quality"]


def test_what_it_raises_is_an_execution_error():
    with pytest.raises(ExecutionError, match="OSError: no such file"):
        executor().execute(convert_file, {"path": "broken"})


def test_its_result_is_checked():
    context = RuntimeContext(NoOpLogger())

    assert convert_file._action_class.dispatch({"path": "nowhere"}, context) == {}  # type: ignore[attr-defined]
    assert context.result_warnings[0].startswith("output_path: Field required")


SOURCE = """\
import warnings

from pydantic import BaseModel

from synapse_core import action

warnings.simplefilter("ignore", DeprecationWarning)


class Params(BaseModel):
    times: int = 1


@action(name="shout", params=Params)
def shout_out(params, context):
    for current in range(params.times):
        context.set_progress(current + 1, params.times)
    if params.times > 5:
        raise ValueError("too loud")
    return "HEY" * params.times
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin whose only action is a function."""
    root = tmp_path / "shouter"
    (root / "shouting_functions").mkdir(parents=True)
    (root / "shouting_functions" / "main.py").write_text(SOURCE)
    (root / "config.yaml").write_text(
        "name: Shouter\ncode: shouter\nactions:\n  shout: {entrypoint: 'shouting_functions.main:shout_out'}\n"
    )
    return root


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_plugin_of_functions_is_discovered_and_run(plugin: Path):
    discovery = PluginDiscovery.from_path(plugin)

    assert discovery.get_action_params_model("shout").__name__ == "Params"
    assert run_plugin(plugin, "shout", {"times": 2}, env={}) == "HEYHEY"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("times", "ending"), [(2, Succeeded), (9, Failed)])
def test_a_recorded_run_of_a_function_leaves_the_events_of_any_run(plugin: Path, times: int, ending: type):
    folder = RunFolder(plugin.parent / "run")
    folder.artifacts.mkdir(parents=True)
    request = RunRequest(
        run_id="run",
        plugin="shouter",
        root=str(plugin),
        actions=(ActionRef("shout", "shouting_functions.main:shout_out"),),
        params={"times": times},
    )

    ended = run_request(folder, request, StopSignal())

    assert isinstance(ended, ending)
    events = [decode_line(line) for line in folder.events.read_bytes().splitlines()]
    assert [event.current for event in events if isinstance(event, Progress)] == list(range(1, times + 1))
    assert type(events[-1]) is ending
    if isinstance(ended, Succeeded):
        assert ended.result == "HEYHEY"
    else:
        assert "too loud (shouting_functions/main.py:19)" in ended.message
