"""Which backend a run's action gets, in every mode, and that the token for it is written down nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backend_services import TOKEN, serving
from tests_support import files_with

from synapse_core.backend import FileSpecification
from synapse_core.backend.local import LocalBackend
from synapse_core.executors import Executor, ProcessExecutor
from synapse_core.executors.ray import RayActorExecutor, RayJobRuns
from synapse_core.profile import config_path
from synapse_core.registry import Registry
from synapse_core.runs import Run, Runs
from synapse_core.runs.request import make_request

CONFIG = """\
name: Probe
code: probe
version: 0.1.0
actions:
  names:
    entrypoint: probe:NamesAction
  broken:
    entrypoint: probe:BrokenAction
"""
CODE = """\
from synapse_core import BaseAction


class NamesAction(BaseAction):
    def execute(self):
        return {"kind": self.ctx.client.check()["kind"],
                "names": [one["name"] for one in self.ctx.client.list_data_collections()]}


class BrokenAction(BaseAction):
    def execute(self):
        self.ctx.client.get_model(404)
"""


@pytest.fixture(
    params=["local", pytest.param("task", marks=pytest.mark.ray), pytest.param("job", marks=pytest.mark.ray)]
)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def executor(request: pytest.FixtureRequest, mode: str) -> Callable[[], Executor]:
    """What makes an executor of the mode; who uses it closes it."""
    if mode == "local":
        return ProcessExecutor
    cluster = request.getfixturevalue("cluster")
    return lambda: RayActorExecutor(cluster=cluster) if mode == "task" else RayJobRuns(cluster)


@pytest.fixture
def probes(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "config.yaml").write_text(CONFIG)
    (tmp_path / "probe" / "probe.py").write_text(CODE)
    opened = Registry([tmp_path / "probe"], tmp_path / "descriptions")
    yield opened
    opened.close()


@pytest.fixture
def ended(probes: Registry, home: Path, mode: str, executor: Callable[[], Executor]) -> Callable[..., Run]:
    """What runs an action of the plugin to its end."""

    def run_to_end(action: str, profile: str | None = None) -> Run:
        return _ended(probes, Runs(home, {mode: executor()}, profile=profile), action, mode)

    return run_to_end


def _ended(probes: Registry, runs: Runs, action: str, mode: str) -> Run:
    try:
        request = make_request(probes, "probe", action, {}, mode=mode, modes=runs.modes)
        run, _ = runs.submit(request)
        runs.start(run.run_id)
        return runs.wait(run.run_id, 120)
    finally:
        runs.close()


def collect(backend: LocalBackend, name: str) -> None:
    backend.create_data_collection(name, [FileSpecification(name="image", is_primary=True)])


def test_without_settings_it_is_the_one_embedded_in_the_home(home, ended):
    backend = LocalBackend(home)
    collect(backend, "in the home")
    backend.close()

    run = ended("names")
    broken = ended("broken")

    assert run.result["names"] == ["in the home"], run.failure
    assert broken.failure is not None
    assert broken.failure.code == "unknown_record"


def test_with_a_profile_it_is_that_of_the_profile_and_its_token_is_written_down_nowhere(
    home, ended, mode, tmp_path, request
):
    with serving(tmp_path / "far") as (url, behind):
        collect(behind, "behind the service")
        token = tmp_path / "lab.token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        config_path().write_text(f"profiles:\n  lab: {{backend_url: '{url}', token_path: '{token}'}}\n")
        config_path().chmod(0o600)
        run = ended("names", "lab")

    assert run.result["names"] == ["behind the service"], run.failure
    assert_nowhere(TOKEN, home, mode, request)


def test_a_token_of_the_environment_reaches_the_run_and_is_written_down_nowhere(
    home, ended, mode, tmp_path, request, monkeypatch
):
    with serving(tmp_path / "far") as (url, behind):
        collect(behind, "behind the service")
        monkeypatch.setenv("SYNAPSE_HOST", url)
        monkeypatch.setenv("SYNAPSE_ACCESS_TOKEN", TOKEN)
        run = ended("names")

    assert run.result["names"] == ["behind the service"], run.failure
    assert_nowhere(TOKEN, home, mode, request)


def test_a_service_that_is_down_fails_the_run_as_something_to_be_tried_again(ended, monkeypatch):
    monkeypatch.setenv("SYNAPSE_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("SYNAPSE_ACCESS_TOKEN", TOKEN)

    run = ended("names")

    assert run.failure is not None
    assert (run.failure.code, run.failure.retryable) == ("backend_unavailable", True)
    assert TOKEN not in str(run)


def assert_nowhere(secret: str, home: Path, mode: str, request: pytest.FixtureRequest) -> None:
    """Look through the home's runs and, of a run on Ray, through all that Ray keeps."""
    folders = [home / "runs"]
    if mode != "local":
        cluster = request.getfixturevalue("cluster")
        facts = json.loads((request.getfixturevalue("ray_home") / "ray" / "cluster.json").read_bytes())
        folders.append(Path(facts["temp_dir"]))
        cluster.connect()
        from ray.util.state import list_actors, list_jobs, list_tasks

        address = cluster.status().dashboard_url
        for lists in (list_actors, list_jobs, list_tasks):
            assert secret not in str(lists(address=address, detail=True, limit=10_000))
    guilty = [path for folder in folders for path in files_with(folder, secret.encode())]
    guilty += [path for path in home.glob("*.db*") if secret.encode() in path.read_bytes()]
    assert not guilty
