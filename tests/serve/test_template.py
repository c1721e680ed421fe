"""What create_plugin writes for deployments deploys and answers, as it is and with what it has trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serve.conftest import WAIT_SECONDS

from synapse_core.events import Progress
from synapse_core.home import Home
from synapse_core.pipelines.graph import PipelineAction
from synapse_core.pipelines.plan import find_named, plan_pipeline
from synapse_core.run_folder import RunRequest
from synapse_core.runs import Run
from synapse_core.runs.request import make_request
from synapse_core.scaffold import create_plugin

pytestmark = pytest.mark.ray("own")

INPUTS = [{"features": [1.0, 1.0]}, {"features": [-1.0, -1.0]}]


@pytest.fixture
def written(home: Path, tmp_path: Path) -> Iterator[Home]:
    """A home with a plugin from the templates train and deployment."""
    create_plugin("points", "neural_net", tmp_path / "plugins", actions=["train", "deployment"])
    opened = Home(home, [tmp_path / "plugins"])
    yield opened
    for each in opened.deployments.list():
        opened.deployments.delete(each.name)
    opened.close()


def ended(home: Home, request: RunRequest) -> Run:
    run, _ = home.runs.submit(request, None)
    home.runs.start(run.run_id)
    return home.runs.wait(run.run_id, WAIT_SECONDS)


def test_a_written_plugin_deploys_without_parameters_and_what_a_pipeline_has_trained(written: Home):
    modes = written.runs.modes
    alone = ended(written, make_request(written.registry, "points", "deployment", {}, modes=modes))
    assert alone.failure is None, alone.failure
    assert alone.result["url"].endswith("/points")
    told = [each.category for each in written.runs.events(alone.run_id) if isinstance(each, Progress)]
    assert list(dict.fromkeys(told)) == ["initialize", "deploy", "register"]
    assert alone.progress.fraction == 1.0
    assert [one["label"] for one in written.deployments.call("points", INPUTS).results] == [1, 0]

    request = plan_pipeline(
        lambda action: find_named(written.registry, modes, action.action),
        [PipelineAction("points/train"), PipelineAction("points/deployment")],
        {"epochs": 3},
        written.runs,
    )
    both = ended(written, request)
    assert both.failure is None, both.failure
    assert (both.result["version"], both.result["replaced"]) == (2, 1)
    assert both.result["model_name"] == "classifier@1"
    assert both.result["model"] == both.actions[0].result["model_id"]
    assert [one["label"] for one in written.deployments.call("points", INPUTS).results] == [1, 0]
