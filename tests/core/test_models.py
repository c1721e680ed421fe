"""Models are registered from runs and paths with where they come from, and are found again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from annotation_begun import begin_annotation
from backend_services import over_http

from synapse_core.backend import Backend
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import BackendConflict, InvalidRequest, NotFound, SynapseError
from synapse_core.executors import ProcessExecutor
from synapse_core.models import deploy_request, find_model, list_models, register_model
from synapse_core.registry import Registry
from synapse_core.runs import Runs
from synapse_core.runs.request import make_request

WAIT_SECONDS = 60.0
AT_ONCE = 8
CONFIG = """
name: Forge
code: forge
version: 1.2.0
category: neural_net
actions:
  train: {entrypoint: "plugin.train:TrainAction", method: local}
"""
TRAIN = """
from pydantic import BaseModel

from synapse_core import BaseAction


class Params(BaseModel):
    files: list[str]
    dataset: int | None = None
    checkpoint: int | None = None
    rate: float = 0.1
    fails: bool = False


class TrainAction(BaseAction[Params]):
    def execute(self):
        for name in self.params.files:
            path = self.ctx.artifacts_dir / name
            path.write_text(f"content of {name}")
            self.ctx.add_artifact(path)
        self.set_metrics({"loss": 0.5, "best": float("nan")}, category="train")
        if self.params.fails:
            raise ValueError("the iron is cold")
        return {"weights_path": str(self.ctx.artifacts_dir / "best.pt")}
"""


@dataclass(frozen=True)
class Forge:
    """Runs that have ended: one with two artifacts, one without any, and one that failed."""

    runs: Runs
    registry: Registry
    ids: dict[str, str]


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    folder = tmp_path_factory.mktemp("forge")
    root = folder / "plugins" / "forge"
    (root / "plugin").mkdir(parents=True)
    for name, text in (("config.yaml", CONFIG), ("plugin/__init__.py", ""), ("plugin/train.py", TRAIN)):
        (root / name).write_text(text)
    registry = Registry([root.parent], folder / "cache")
    runs = Runs(folder / "home", {"local": ProcessExecutor()})
    wanted = {
        "trained": {"files": ["log.txt", "best.pt"], "dataset": 1, "checkpoint": 1, "rate": 0.25},
        "empty": {"files": []},
        "failed": {"files": ["best.pt"], "fails": True},
    }
    ids = {}
    for name, params in wanted.items():
        request = make_request(registry, "forge", "train", params, modes=runs.modes)
        ids[name] = runs.submit(request, None)[0].run_id
        runs.start(ids[name])
    for run_id in ids.values():
        assert runs.wait(run_id, WAIT_SECONDS).is_done
    yield Forge(runs, registry, ids)
    runs.close()
    registry.close()


@pytest.fixture(params=["embedded", "http"])
def backend(request: pytest.FixtureRequest, home: Path) -> Iterator[Backend]:
    with closing(LocalBackend(home)) if request.param == "embedded" else over_http(home) as opened:
        yield opened


def test_a_model_of_a_run_knows_its_run_its_data_and_its_content(
    forge: Forge, backend: Backend, tmp_path: Path
):
    annotation = begin_annotation(backend, tmp_path)
    dataset = backend.create_ground_truth_version("Iron", "1", project=annotation.project.id)
    (tmp_path / "base.pt").write_text("base")
    base = register_model(forge.runs, backend, "base", str(tmp_path / "base.pt"))
    assert (dataset.id, base.id) == (1, 1)
    trained = forge.ids["trained"]

    made = register_model(
        forge.runs, backend, "blade", trained, metadata={"metrics": {"map": 0.75}, "steel": "blue"}
    )
    log = register_model(
        forge.runs, backend, "blade", f"{trained}/log.txt", metadata={"description": "a log"}
    )

    # The result says which of the two artifacts it is.
    assert made.file.checksum == hashlib.sha256(b"content of best.pt").hexdigest()
    assert backend.download_file(made.file, tmp_path / "back.pt").read_text() == "content of best.pt"
    assert (made.run_id, made.plugin, made.plugin_version) == (trained, "forge", "1.2.0")
    assert (made.dataset, made.checkpoint) == (dataset.id, base.id)
    assert made.metrics == {"train/loss": 0.5, "map": 0.75}
    assert made.configuration["hyperparameter"]["rate"] == 0.25
    assert made.configuration["steel"] == "blue"
    assert (log.version, log.description) == ("2", "a log")
    assert log.file.checksum == hashlib.sha256(b"content of log.txt").hexdigest()
    assert register_model(forge.runs, backend, "blade", trained, version="1") == made


def test_of_eight_who_register_one_version_at_once_one_wins(forge: Forge, backend: Backend, tmp_path: Path):
    files = [tmp_path / f"{number}.pt" for number in range(AT_ONCE)]
    for file in files:
        file.write_text(file.name)

    def register(file: Path) -> str | None:
        try:
            return register_model(forge.runs, backend, "blade", str(file), version="1").file.checksum
        except BackendConflict:
            return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(register, files))
        # And of the same content it is one model for all of them.
        winner = next(file for file, checksum in zip(files, told, strict=True) if checksum)
        again = set(pool.map(register, [winner] * AT_ONCE))

    assert sum(checksum is not None for checksum in told) == 1
    (model,) = backend.list_models()
    assert model.file.checksum == hashlib.sha256(winner.read_bytes()).hexdigest()
    assert again == {model.file.checksum}


def test_what_is_no_model_is_refused_and_nothing_is_registered(forge: Forge, home: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    ids = forge.ids
    with closing(LocalBackend(home)) as backend:
        for name, source, metadata, kind, words in (
            ("blade", ids["failed"], None, InvalidRequest, "is failed"),
            ("blade", ids["empty"], None, InvalidRequest, "no artifacts"),
            ("blade", f"{ids['trained']}/bst.pt", None, NotFound, "log.txt, best.pt"),
            ("blade", "run-nowhere", None, InvalidRequest, "neither the id of a run nor an absolute path"),
            ("blade", str(tmp_path / "nowhere.pt"), None, InvalidRequest, "nowhere.pt"),
            ("blade", str(tmp_path / "empty"), None, InvalidRequest, "no files"),
            (" ", ids["trained"], None, InvalidRequest, "name is empty"),
            ("blade", ids["trained"], {"metrics": 0.9}, InvalidRequest, "names with numbers"),
        ):
            with pytest.raises(kind, match=words):
                register_model(forge.runs, backend, name, source, metadata=metadata)
        assert backend.list_models().count == 0


def test_models_are_found_by_what_they_are_called(forge: Forge, home: Path, tmp_path: Path):
    with closing(LocalBackend(home)) as backend:
        made = []
        for name in ("blade", "blade", "shield"):
            (tmp_path / "file.pt").write_text(f"{name} {len(made)}")
            made.append(register_model(forge.runs, backend, name, str(tmp_path / "file.pt")))
        first, second, shield = made

        assert find_model(backend, "blade") == find_model(backend, "blade@2") == second
        assert find_model(backend, first.id) == find_model(backend, "blade@1") == first
        for asked, near in (("blad", "blade"), ("blade@7", "blade@"), ("99", "99")):
            with pytest.raises(NotFound, match=near):
                find_model(backend, asked)
        page, cursor = list_models(backend, limit=2)
        rest, end = list_models(backend, limit=2, before=cursor)
        assert ([*page, *rest], end) == ([shield, second, first], None)
        assert list_models(backend, query="SHI")[0] == [shield]

        # Nobody knows how to serve these: one has no plugin, that of the other has no such action.
        sword = backend.create_model("sword", tmp_path / "file.pt", plugin="forge")
        for model, words in ((shield, "without a plugin"), (sword, "no action 'deploy'")):
            with pytest.raises(SynapseError, match=words) as told:
                deploy_request(forge.registry, model, "x", replicas=1, num_gpus=0, modes=["local"])
            assert told.value.hint
