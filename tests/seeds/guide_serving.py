"""The guide's blocks about serving with Ray Serve: two served classes, and an action that deploys one.

The models come from a real service, on a port of this machine, as they would from another one.
"""

from __future__ import annotations

import json
import os
import socket
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backend_services import TOKEN, serving
from seeds.bench import GUIDE, Bench
from seeds.documents import Block, block

from synapse_core.actions.inference import create_serve_multiplexed_model_id
from synapse_core.discovery import PluginDiscovery
from synapse_core.home import Home

DOCUMENT = GUIDE
# What Serve calls an application that is given no name.
_APPLICATION = "default"
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
_PARAMS = "from synapse_core.actions.inference import DeploymentParams\n"
_CONFIG = "name: Multiplier\ncode: multiplier\nactions: {deploy: {entrypoint: service:MyDeploymentAction}}\n"


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

    serve.shutdown()  # where another test's is left, it keeps its port
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()


@contextmanager
def model_service(bench: Bench, factor: int) -> Iterator[tuple[str, int]]:
    """Give the address of a service, and the id of its model."""
    with serving(bench.home) as (url, backend):
        bench.write("served/model.pt", json.dumps({"factor": factor}))
        yield url, backend.create_model("multiplier", bench.folder / "served").id


def on_replicas() -> dict[str, Any]:
    """Return what makes replicas ones of this home, with its access to the service."""
    env = {"SYNAPSE_HOME": os.environ["SYNAPSE_HOME"], "SYNAPSE_ACCESS_TOKEN": TOKEN}
    return {"num_cpus": 0.1, "runtime_env": {"env_vars": env}}


def ask(address: str, model: int, *inputs: Any) -> Any:
    token = create_serve_multiplexed_model_id(model, audience=_APPLICATION)
    request = urllib.request.Request(
        address,
        json.dumps({"inputs": inputs}).encode(),
        {"content-type": "application/json", "serve_multiplexed_model_id": token},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def served_class(block: Block, bench: Bench) -> None:
    with ray_serve(bench) as address, model_service(bench, 3) as (url, model):
        from ray import serve

        served = with_torch(block).run().MyServeDeployment.options(ray_actor_options=on_replicas())
        serve.run(served.bind(backend_url=url))
        found = ask(f"{address}/predict", model, {"x": 1}, {"x": 5})
    assert found == {"results": [{"prediction": 3}, {"prediction": 15}]}


def served_at_once(block: Block, bench: Bench) -> None:
    with ray_serve(bench) as address, model_service(bench, 3) as (url, model):
        block = block.filled("https://api.example.com", url)
        block = block.filled("num_replicas=2", "num_replicas=2, ray_actor_options=on_replicas")
        with_torch(block).run(Any=Any, on_replicas=on_replicas())
        found = ask(f"{address}/predict", model, {"data": {"x": 2}})
    assert found == {"results": [{"prediction": 6}]}


def deployment(block_: Block, bench: Bench) -> None:
    """Both blocks are the module of a plugin: replicas import what is deployed from its folder."""
    source = with_torch(block(GUIDE, 14)).source + block_.after(_PARAMS).source
    root = bench.plugin("multiplier", _CONFIG, service=source)
    bench.monkeypatch.setenv("SYNAPSE_PLUGIN_RELEASE_CODE", "multiplier@1.0.0")
    with ray_serve(bench) as address, model_service(bench, 3) as (url, model):
        bench.monkeypatch.setenv("SYNAPSE_HOST", url)
        bench.monkeypatch.setenv("SYNAPSE_ACCESS_TOKEN", TOKEN)
        result = bench.run(PluginDiscovery.from_path(root).get_action_class("deploy"), {"model": model})
        home = Home(bench.request.getfixturevalue("ray_home"))
        found = home.deployments.get(result["app_name"])
        answer = home.deployments.call(result["app_name"], [{"x": 2}])
        home.close()
    assert set(result) == {"app_name", "app_id"}
    assert result["app_name"] == "multiplier@1.0.0"
    assert (found.state, found.url) == ("running", f"{address}/predict")
    assert answer.results == [{"prediction": 6}]


CASES = {13: deployment, 14: served_class, 16: served_at_once}
ON_RAY = (13, 14, 16)
