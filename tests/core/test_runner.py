"""run_plugin: one call from a script to a result, in every mode."""

from __future__ import annotations

import os

import pytest

from synapse_core import run_plugin
from synapse_core.enums import RunState
from synapse_core.errors import ExecutionError, PluginNotFound, RunFailed, ValidationError
from synapse_core.executors import ProcessExecutor
from synapse_core.runs import Runs
from synapse_mcp.settings import example_plugins

HELLO = example_plugins() / "hello"


def test_a_folder_an_action_and_parameters_give_the_result_in_this_process():
    assert run_plugin(HELLO, "greet", {"name": "script"}).text == "Hello, script!"


def test_a_plugin_is_found_by_its_code_on_the_search_paths(monkeypatch):
    monkeypatch.setenv("SYNAPSE_PLUGIN_PATHS", f"/nowhere{os.pathsep}{example_plugins()}")

    assert run_plugin("hello", "greet").text == "Hello, world!"


def test_a_module_with_actions_is_a_plugin_too(tmp_path, monkeypatch):
    (tmp_path / "my_actions.py").write_text(
        "from pydantic import BaseModel\nfrom synapse_core import BaseAction\n"
        "class P(BaseModel):\n    n: int = 1\n"
        "class Double(BaseAction[P]):\n    action_name = 'double'\n"
        "    def execute(self):\n        return self.params.n * 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert run_plugin("my_actions", "double", {"n": 4}) == 8


def test_an_unknown_plugin_names_the_near_ones(monkeypatch):
    monkeypatch.setenv("SYNAPSE_PLUGIN_PATHS", str(example_plugins()))

    with pytest.raises(PluginNotFound, match="Did you mean hello"):
        run_plugin("helo", "greet")


def test_wrong_parameters_raise_before_anything_runs():
    with pytest.raises(ValidationError, match="repeat"):
        run_plugin(HELLO, "greet", {"repeat": 0})


def test_a_failure_in_this_process_is_an_execution_error():
    with pytest.raises(ExecutionError, match="asked to fail"):
        run_plugin(HELLO, "misbehave", {"way": "fail"})


def test_without_waiting_it_returns_the_id_of_a_recorded_run(home):
    run_id = run_plugin(HELLO, "greet", {"name": "later"}, wait=False)

    runs = Runs(home, {"local": ProcessExecutor()})
    ended = runs.wait(run_id, 60)
    runs.close()
    assert ended.state is RunState.SUCCEEDED
    assert ended.result["text"] == "Hello, later!"


@pytest.mark.ray
def test_on_ray_it_returns_the_result_of_a_recorded_run(ray_home, monkeypatch):
    monkeypatch.setenv("SYNAPSE_HOME", str(ray_home))

    assert run_plugin(HELLO, "greet", {"name": "ray"}, mode="task") == {"text": "Hello, ray!", "steps": 1}
    with pytest.raises(RunFailed, match="asked to fail") as failed:
        run_plugin(HELLO, "misbehave", {"way": "fail"}, mode="task")
    assert failed.value.code == "step_failed"
    assert failed.value.state == "failed"
