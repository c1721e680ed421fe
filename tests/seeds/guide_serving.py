"""The guide's blocks about serving with Ray Serve: two served classes, and an action that deploys one.

The models come from a real service, on a port of this machine, as they would from another one.
"""

from __future__ import annotations

import importlib
import json
import socket
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backend_services import TOKEN, serving
from pydantic import BaseModel
from seeds.bench import GUIDE, Bench
from seeds.documents import Block, block

DOCUMENT = GUIDE
_PACKAGE = "synapse_core.actions.inference"
# The blocks import torch inside a method that runs on a worker, so its stand-in, which reads JSON, travels
# with the class.
_TORCH = """
    import json
    import numpy

    class Torch:
        def __init__(self, path):
            self.factor = json.loads(path.read_text())["factor"]

        def predict(self, value):
            return numpy.float64(self.factor * value["x"])

        @classmethod
        def load(cls, path):
            return cls(path)
"""


def with_torch(block: Block) -> Block:
    return block.filled("import torch\n", "torch = Torch\n").after(_TORCH)


@contextmanager
def ray_serve(bench: Bench) -> Iterator[str]:
    """Let Ray Serve listen on a port that the system chose. Gives its address."""
    bench.use_cluster()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray Serve uses what pydantic and asyncio deprecate
        yield from _listening()


def _listening() -> Iterator[str]:
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()


@contextmanager
def model_service(bench: Bench, factor: int) -> Iterator[tuple[str, str]]:
    """Give the address of a service, and what a request says to have its model predict."""
    with serving(bench.home) as (url, backend):
        bench.write("served/model.pt", json.dumps({"factor": factor}))
        model = backend.create_model("multiplier", bench.folder / "served")
        name = importlib.import_module(_PACKAGE).create_serve_multiplexed_model_id
        yield url, name(model.id, TOKEN, url)


def ask(address: str, model: str, *inputs: Any) -> Any:
    request = urllib.request.Request(
        address,
        json.dumps({"inputs": inputs}).encode(),
        {"content-type": "application/json", "serve_multiplexed_model_id": model},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def served_class(block: Block, bench: Bench) -> None:
    with ray_serve(bench) as address, model_service(bench, 3) as (url, model):
        from ray import serve

        serve.run(with_torch(block).run().MyServeDeployment.bind(backend_url=url))
        found = ask(f"{address}/predict", model, {"x": 1}, {"x": 5})
    assert found == {"results": [{"prediction": 3}, {"prediction": 15}]}


def served_at_once(block: Block, bench: Bench) -> None:
    with ray_serve(bench) as address, model_service(bench, 3) as (url, model):
        block = block.filled("https://api.example.com", url)
        with_torch(block).run(Any=Any)
        found = ask(f"{address}/predict", model, {"data": {"x": 2}})
    assert found == {"results": [{"prediction": 6}]}


def deployment(block_: Block, bench: Bench) -> None:
    class DeploymentParams(BaseModel):
        num_replicas: int = 1

    with ray_serve(bench), model_service(bench, 3) as (url, _):
        from ray import serve

        bench.monkeypatch.setenv("SYNAPSE_HOST", url)
        bench.monkeypatch.setenv("SYNAPSE_ACCESS_TOKEN", TOKEN)
        bench.monkeypatch.setenv("SYNAPSE_PLUGIN_RELEASE_CODE", "multiplier@1.0.0")
        served = with_torch(block(GUIDE, 14)).run().MyServeDeployment
        it = block_.run(DeploymentParams=DeploymentParams, MyServeDeployment=served)
        result = bench.run(it.MyDeploymentAction)
        application = serve.status().applications[result["app_name"]]
    assert set(result) == {"app_name", "app_id"}
    assert application.status == "RUNNING"


CASES = {13: deployment, 14: served_class, 16: served_at_once}
ON_RAY = (13, 14, 16)
WAITING_FOR = {
    13: f"{_PACKAGE}:BaseDeploymentAction",
    14: f"{_PACKAGE}:BaseServeDeployment",
    16: f"{_PACKAGE}:BaseServeDeployment",
}
