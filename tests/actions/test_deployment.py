"""What a deployment asks for follows from its parameters, its plugin and its environment. No cluster here."""

from __future__ import annotations

from pathlib import Path

import pytest

from synapse_core.actions.inference import BaseDeploymentAction, DeploymentContext, DeploymentParams
from synapse_core.context import PluginEnvironment, RuntimeContext
from synapse_core.deployments.capacity import check_room
from synapse_core.deployments.plan import Plan, checked_route
from synapse_core.deployments.serve_server import Served
from synapse_core.discovery import PluginDiscovery
from synapse_core.errors import ExecutionError, InvalidRequest
from synapse_core.executors.ray.cluster import ClusterStatus
from synapse_core.loggers import NoOpLogger
from synapse_core.run_folder import Resources

CONFIG = """
name: Stage
code: stage
category: neural_net
actions:
  deploy:
    entrypoint: plugin.deploy:DeployAction
    serve_options: {max_ongoing_requests: 7, batch: {max_batch_size: 4}}
"""
DEPLOY = """
from synapse_core.actions.inference import BaseDeploymentAction, DeploymentParams


class DeployAction(BaseDeploymentAction[DeploymentParams]):
    entrypoint = "plugin.serve:Stage"
"""
REQUIREMENTS = "pydantic>=2\nno-such-package-of-ours==7\n"


@pytest.fixture
def stage(tmp_path: Path) -> type[BaseDeploymentAction]:
    root = tmp_path / "stage"
    files = {"config.yaml": CONFIG, "requirements.txt": REQUIREMENTS}
    for name, text in {**files, "plugin/__init__.py": "", "plugin/deploy.py": DEPLOY}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return PluginDiscovery.from_path(root).get_action_class("deploy")


def made(
    kind: type[BaseDeploymentAction], params: dict | None = None, env: dict | None = None
) -> BaseDeploymentAction:
    context = RuntimeContext(NoOpLogger(), PluginEnvironment(env or {}))
    return kind(DeploymentParams(**(params or {})), context)


def test_a_name_and_an_address_come_from_the_nearest_that_says_them(stage: type[BaseDeploymentAction]):
    release = {"SYNAPSE_PLUGIN_RELEASE_CODE": "stage@2", "SYNAPSE_PLUGIN_RELEASE_CHECKSUM": "c0ffee"}

    plain, released = made(stage), made(stage, env=release)
    named = made(stage, {"name": "mine"}, release)

    assert (plain.get_serve_app_name(), plain.get_route_prefix()) == ("stage", "stage")
    assert (released.get_serve_app_name(), released.get_route_prefix()) == ("stage@2", "c0ffee")
    assert (named.get_serve_app_name(), named.get_route_prefix()) == ("mine", "c0ffee")


def test_replicas_get_what_is_asked_for_and_what_of_the_requirements_is_not_there(
    stage: type[BaseDeploymentAction],
):
    asked = made(stage, {"model_id": 3, "num_cpus": 0.5, "num_gpus": 1, "memory": 1000, "replicas": 2})

    assert asked.get_ray_actor_options() == {"num_cpus": 0.5, "num_gpus": 1, "memory": 1000}
    assert made(stage).get_ray_actor_options() == {"num_cpus": 0.1, "num_gpus": 0}
    assert asked.get_serve_options() == {"max_ongoing_requests": 7, "batch": {"max_batch_size": 4}}
    assert asked.get_runtime_env()["pip"]["packages"] == ["no-such-package-of-ours==7"]
    context = asked.create_context()
    assert isinstance(context, DeploymentContext)
    assert (context.model_id, context.serve_app_name, context.route_prefix) == (3, "stage", "stage")
    assert context.serve_options == asked.get_serve_options()
    assert context.ray_actor_options == asked.get_ray_actor_options()


def test_an_action_that_names_no_class_says_so():
    class Nothing(BaseDeploymentAction[DeploymentParams]):
        pass

    with pytest.raises(ExecutionError, match="does not say what to deploy") as told:
        made(Nothing).deploy()
    assert "entrypoint" in str(told.value.hint)
    with pytest.raises(ExecutionError, match="has deployed nothing yet"):
        made(Nothing).register_serve_application()


@pytest.mark.parametrize("route", ["", "/", "/-/routes", "/_staging/x", "a b", "/x?y", "/{x}", "\\x"])
def test_an_address_that_cannot_be_one_is_refused(route: str):
    assert checked_route("digits/") == "/digits"
    with pytest.raises(InvalidRequest, match="cannot be the address"):
        checked_route(route)


def plan(gpus: float, replicas: int = 1) -> Plan:
    resources = Resources(num_cpus=0.1, num_gpus=gpus)
    return Plan(
        name="big",
        route="/big",
        version=1,
        home="/",
        entrypoint="x:X",
        replicas=replicas,
        resources=resources,
    )


def test_a_version_whose_gpus_the_one_that_serves_holds_is_refused_before_that_is_touched():
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 1e9}
    status = ClusterStatus("running", "It runs.", gpus=2, free_gpus=0.5, nodes=(node,))
    config = plan(1).config("/big")
    serving = {"big--1": Served(name="big--1", status="RUNNING", deployed_app_config=config)}

    with pytest.raises(InvalidRequest, match="needs 1 GPUs beside the one that serves"):
        check_room(plan(1), status, serving)
    with pytest.raises(InvalidRequest, match="3 replicas are asked for; the cluster can hold 2"):
        check_room(plan(1, replicas=3), status, {})
    with pytest.raises(InvalidRequest, match="4 GPUs"):
        check_room(plan(4), status, {})
    # Where none serves Ray makes it wait for the GPUs; half of one is free beside the other.
    check_room(plan(1), status, {})
    check_room(plan(0.5), status, serving)
