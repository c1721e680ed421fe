"""A home with a cluster, and a plugin whose models say themselves how they behave when they are served."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from synapse_core.actions.inference import create_serve_multiplexed_model_id
from synapse_core.backend import Model
from synapse_core.deployments.serve_server import ServeServer
from synapse_core.errors import SynapseError
from synapse_core.home import Home
from synapse_core.runs import Run
from synapse_core.runs.request import make_request
from synapse_mcp.settings import example_plugins

WAIT_SECONDS = 120.0

CONFIG = """
name: Parrot
code: parrot
version: 0.1.0
category: neural_net
actions:
  deploy:
    entrypoint: plugin.deploy:DeployAction
    method: local
  deploy_batched:
    entrypoint: plugin.deploy:DeployAction
    method: local
    serve_options:
      batch: {max_batch_size: 4, batch_wait_timeout_s: 2}
      max_ongoing_requests: 20
  deploy_own_routes:
    entrypoint: plugin.deploy:DeployWithRoutes
    method: local
"""

DEPLOY = """
from synapse_core.actions.inference import BaseDeploymentAction, DeploymentParams


class DeployAction(BaseDeploymentAction[DeploymentParams]):
    entrypoint = "plugin.serve:Parrot"


class DeployWithRoutes(BaseDeploymentAction[DeploymentParams]):
    def execute(self) -> dict:
        from plugin.routes import ParrotWithRoutes

        self.ray_init()
        name, number = self.deploy(deployment_class=ParrotWithRoutes, route_prefix="/birds")
        self.register_serve_application(name, number)
        return {"app_name": name, "app_id": number}
"""

SERVE = """
import json
import os
import resource
from pathlib import Path

from pydantic import BaseModel

from synapse_core.actions.inference import BaseServeDeployment


class Word(BaseModel):
    word: str


class Parrot(BaseServeDeployment):
    max_models = 5
    most_body_bytes = 100_000
    sample_inputs = ({"word": "hello"},)
    input_model = Word

    async def _get_model(self, model_info):
        folder = model_info["path"]
        assert isinstance(folder, Path)
        with open(Path(os.environ["SYNAPSE_HOME"], "loads.txt"), "a") as file:
            file.write(f"{model_info['id']}\\n")
        if (large := folder / "large.bin").is_file():
            return {"says": "large", "weights": large.read_bytes()}
        model = json.loads(next(folder.glob("*.json")).read_text())
        if model.get("fails") == "load":
            raise RuntimeError("the feathers are missing")
        return model

    async def infer(self, inputs):
        model = await self.get_model()
        if model.get("fails") == "request":
            raise RuntimeError("the beak does not open")
        if any(each.word == "wrong" for each in inputs):
            raise ValueError("parrots do not say that")
        return [
            {
                "says": f"{model['says']} {each.word}",
                "pid": os.getpid(),
                "together": len(inputs),
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
            for each in inputs
        ]
"""

ROUTES = """
import json

from fastapi import FastAPI
from ray import serve

from synapse_core.actions.inference import BaseServeDeployment

app = FastAPI()


@serve.deployment(num_replicas=2)
@serve.ingress(app)
class ParrotWithRoutes(BaseServeDeployment):
    async def _get_model(self, model_info):
        return json.loads(next(model_info["path"].glob("*.json")).read_text())

    async def infer(self, inputs):
        model = await self.get_model()
        return [{"says": f"{model['says']} {each}"} for each in inputs]

    @app.post("/predict")
    async def predict(self, request: dict) -> dict:
        return {"results": await self.infer(request["inputs"])}
"""


@pytest.fixture(autouse=True)
def home(ray_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the session's cluster: starting another one takes ten seconds."""
    for name in ("SYNAPSE_PROFILE", "SYNAPSE_HOST", "SYNAPSE_RAY_ADDRESS", "RAY_ADDRESS", "SYNAPSE_TENANT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNAPSE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("SYNAPSE_HOME", str(ray_home))
    return ray_home


@pytest.fixture(scope="session")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the plugin."""
    root = tmp_path_factory.mktemp("plugins") / "parrot"
    (root / "plugin").mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG)
    for name, text in (("deploy", DEPLOY), ("serve", SERVE), ("routes", ROUTES), ("__init__", "")):
        (root / "plugin" / f"{name}.py").write_text(text)
    return root


@dataclass
class Aviary:
    """A home in which parrots are deployed."""

    home: Home
    folder: Path
    _count: int = field(default=0)

    def model(self, says: str, name: str = "parrot", **more: Any) -> Model:
        """Register a model. fails: 'load' or 'request'."""
        self._count += 1
        file = self.folder / f"{self._count}.json"
        file.write_text(json.dumps({"says": says, "number": self._count, **more}))
        return self.register(name, file)

    def register(self, name: str, file: Path) -> Model:
        backend = self.home.open_backend()
        try:
            return backend.create_model(name, file, plugin="parrot")
        finally:
            backend.close()

    def deploy(self, name: str, model: Model, action: str = "deploy", **params: Any) -> Run:
        """Run the plugin's deployment to its end."""
        asked = {"model": model.id, "name": name, **params}
        request = make_request(self.home.registry, "parrot", action, asked, modes=self.home.runs.modes)
        run, _ = self.home.runs.submit(request, None)
        self.home.runs.start(run.run_id)
        ended = self.home.runs.wait(run.run_id, WAIT_SECONDS)
        assert ended.is_done, f"{ended} did not end"
        return ended

    def say(self, name: str, word: str = "hi", timeout_seconds: float = 30.0) -> dict[str, Any]:
        answer: dict[str, Any] = self.home.deployments.call(name, [{"word": word}], timeout_seconds).results[
            0
        ]
        return answer

    def post(self, name: str, content: bytes, token: str | None = None) -> httpx.Response:
        url = self.home.deployments.get(name).url
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.post(f"{url}/predict", content=content, headers=headers, timeout=60, trust_env=False)

    def token(self, name: str, model: Model) -> str:
        return create_serve_multiplexed_model_id(model.id, audience=name)

    def loads(self) -> list[str]:
        """Return the ids of the models that replicas have loaded, in their order."""
        file = self.home.path / "loads.txt"
        return file.read_text().split() if file.is_file() else []

    def served(self) -> list[str]:
        """Return what Serve calls the versions that it has."""
        return sorted(ServeServer(self.home.cluster).applications())


class Caller:
    """Calls a deployment without a pause; what it was told, in order, and what went wrong."""

    def __init__(self, aviary: Aviary, name: str) -> None:
        self.said: list[str] = []
        self.errors: list[Exception] = []
        self._aviary = aviary
        self._name = name
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _call(self) -> None:
        url = self._aviary.home.deployments.get(self._name).url
        token = create_serve_multiplexed_model_id("", audience=self._name)
        with httpx.Client(
            trust_env=False, timeout=30, headers={"Authorization": f"Bearer {token}"}
        ) as client:
            # A pause, as two busy loops leave a small machine nothing to start replicas with.
            while not self._ends.wait(0.03):
                try:
                    answer = client.post(f"{url}/predict", json={"inputs": [{"word": "hi"}]})
                    answer.raise_for_status()
                    self.said.append(answer.json()["results"][0]["says"])
                except (httpx.HTTPError, LookupError) as error:
                    self.errors.append(error)


@pytest.fixture
def aviary(home: Path, parrot: Path, tmp_path: Path) -> Iterator[Aviary]:
    """Everything that a test deploys is gone when it ends."""
    opened = Home(home, [parrot.parent, example_plugins()])
    (home / "loads.txt").unlink(missing_ok=True)
    yield Aviary(opened, tmp_path)
    for each in opened.deployments.list():
        opened.deployments.delete(each.name)
    opened.close()


def until(aviary: Aviary, name: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return the first answer of a deployment that is on its way."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return aviary.say(name, timeout_seconds=5)
        except SynapseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
