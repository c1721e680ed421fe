"""`execute(action, params)`: the library's way to run an action, in this process and on a Ray actor."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from synapse_core import BaseAction
from synapse_core.discovery import PluginDiscovery
from synapse_core.errors import (
    ActionNotFoundError,
    ExecutionError,
    InvalidRequest,
    SynapseError,
    ValidationError,
)
from synapse_core.executors import LocalExecutor
from synapse_core.executors.ray import RayActorExecutor
from synapse_mcp.settings import example_plugins


class ProbeParams(BaseModel):
    epochs: int = Field(default=1, ge=1)
    way: str = "return"


class ProbeAction(BaseAction[ProbeParams]):
    """Tells what it sees, or goes wrong."""

    def execute(self):
        if self.params.way == "raise":
            raise OSError("the disk is full")
        if self.params.way == "synapse":
            raise ActionNotFoundError("p", "a", ["b"])
        if self.params.way == "die":
            os._exit(5)
        self.set_progress(1, 1, category="probe")
        return {
            "epochs": self.params.epochs,
            "env": self.ctx.env.get_str("DEBUG"),
            "job_id": self.ctx.job_id,
            "pid": os.getpid(),
        }


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request):
    """An executor with an environment and a job id of its own."""
    options = {"env": {"DEBUG": "true"}, "job_id": "job-1", "working_dir": example_plugins() / "hello"}
    if request.param == "local":
        yield LocalExecutor(**options)
        return
    on_ray = RayActorExecutor(cluster=request.getfixturevalue("cluster"), num_cpus=0.5, **options)
    yield on_ray
    on_ray.shutdown()


def test_an_action_class_is_run_with_its_parameters_environment_and_job_id(executor):
    result = executor.execute(ProbeAction, {"epochs": 5})

    assert (result["epochs"], result["env"], result["job_id"]) == (5, "true", "job-1")
    assert (result["pid"] == os.getpid()) == isinstance(executor, LocalExecutor)


def test_an_action_may_be_named_instead(executor):
    result = executor.execute("greet", {"name": "you"})

    assert result.text == "Hello, you!"


def test_an_unknown_name_lists_the_actions_there_are(executor):
    with pytest.raises(ActionNotFoundError, match="it has greet, misbehave"):
        executor.execute("gret", {})


def test_wrong_parameters_are_a_validation_error_with_all_problems(executor):
    with pytest.raises(ValidationError) as refused:
        executor.execute(ProbeAction, {"epochs": 0, "way": 1})

    assert {problem["path"] for problem in refused.value.problems} == {"epochs", "way"}


def test_what_an_action_raises_becomes_an_execution_error_that_names_it(executor):
    with pytest.raises(ExecutionError, match="Action execution failed: OSError: the disk is full"):
        executor.execute(ProbeAction, {"way": "raise"})


def test_a_synapse_error_of_the_action_comes_through_as_it_is(executor):
    with pytest.raises(SynapseError, match="has no action 'a'") as raised:
        executor.execute(ProbeAction, {"way": "synapse"})

    assert raised.value.details["available"] == ["b"]


def test_the_next_action_runs_after_a_failure(executor):
    with pytest.raises(ExecutionError):
        executor.execute(ProbeAction, {"way": "raise"})

    assert executor.execute(ProbeAction, {"epochs": 2})["epochs"] == 2


@pytest.mark.ray
def test_the_actor_is_kept_between_calls_and_replaced_when_it_died(cluster):
    executor = RayActorExecutor(cluster=cluster, num_cpus=0.5)
    first = executor.execute(ProbeAction, {})["pid"]
    assert executor.execute(ProbeAction, {})["pid"] == first

    with pytest.raises(ExecutionError, match="The worker died"):
        executor.execute(ProbeAction, {"way": "die"})

    assert executor.execute(ProbeAction, {})["pid"] != first
    executor.shutdown()


def test_the_current_directory_stays_where_it_was(executor):
    before = Path.cwd()

    executor.execute(ProbeAction, {})

    assert Path.cwd() == before


@pytest.mark.ray
def test_an_actor_that_no_node_could_hold_is_refused_and_not_waited_for(cluster):
    with pytest.raises(InvalidRequest, match="asks for 64 GPUs"):
        RayActorExecutor(cluster=cluster, num_gpus=64).execute(ProbeAction, {})


@pytest.mark.ray
def test_a_class_of_the_plugin_in_working_dir_is_found_by_the_worker(cluster, tmp_path):
    (tmp_path / "probe_of_a_plugin.py").write_text(
        "from synapse_core import BaseAction\n\n\n"
        "class Look(BaseAction):\n    def execute(self):\n        return self.action_name\n"
    )
    (tmp_path / "config.yaml").write_text(
        "name: P\ncode: p\nactions: {look: {entrypoint: 'probe_of_a_plugin:Look'}}\n"
    )
    look = PluginDiscovery.from_path(tmp_path).get_action_class("look")
    executor = RayActorExecutor(cluster=cluster, num_cpus=0.5, working_dir=tmp_path)

    assert executor.execute(look) == executor.execute("look")
    executor.shutdown()


class CountAction(BaseAction[ProbeParams]):
    """Asks the backend."""

    def execute(self):
        return self.ctx.client.list_models()


def test_the_backend_of_a_call_is_closed_after_it(home):
    gc.disable()
    try:
        models = LocalExecutor().execute(CountAction, {})
        opened = [Path(entry).resolve() for entry in Path("/proc/self/fd").iterdir()]
    finally:
        gc.enable()

    assert not [path for path in opened if path.is_relative_to(home)]
    # What was returned can still be read.
    assert list(models) == []
