"""The digits classifier deployed by us, beside the same model in a plain FastAPI app on the same Serve."""

# No postponed annotations: FastAPI could not resolve those of a function's own classes.

import itertools
import os
import pickle
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from ray import serve
from ray.util.state import list_actors
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from benchmarks.measure import Figure, at_most, interleaved, milliseconds
from benchmarks.world import World
from synapse_core.actions.inference import create_serve_multiplexed_model_id
from synapse_core.executors import LocalExecutor
from synapse_core.home import Home
from synapse_core.loggers import NoOpLogger
from synapse_mcp.settings import example_plugins

Ask = Callable[[], None]
_CPUS = 0.1
_PLUGIN = example_plugins() / "digits_classifier"
_CALLERS = 8
_LOAD_SECONDS = 3.0
_ROUNDS = 5
_ASK_AGAIN_SECONDS = 0.02


def figures(world: World) -> Iterator[Figure]:
    world.cluster  # noqa: B018  # started, and this process connected
    scans, digits = load_digits(return_X_y=True)
    weights = world.home / "model.pkl"
    weights.write_bytes(pickle.dumps(MLPClassifier((64,), max_iter=200).fit(scans / 16, digits)))
    os.environ["SYNAPSE_HOME"] = str(world.home)
    home = Home(world.home)
    try:
        ours = _Ours(home, weights)
        plain = _Plain(weights)
        ours.deploy("bench")
        plain.deploy("plain")
        body = {"inputs": scans[:1].tolist()}
        yield from _latency(world, ours.asker("bench", body), plain.asker(ours.base, "plain", body))
        yield _throughput(ours.asker("bench", body), plain.asker(ours.base, "plain", body))
        yield _warm_deploy(world, ours, plain, body)
        yield _recovery(world, ours.asker("bench", body), plain.asker(ours.base, "plain", body))
    finally:
        for each in home.deployments.list():
            home.deployments.delete(each.name)
        serve.shutdown()
        home.close()


class _Ours:
    """Deployments by the plugin's own action, in this process: what a run costs besides is told elsewhere."""

    def __init__(self, home: Home, weights: Path) -> None:
        self._home = home
        backend = home.open_backend()
        self._model = backend.create_model("digits", weights, plugin="digits_classifier").id
        backend.close()

    @property
    def base(self) -> str:
        return str(self._home.deployments.get("bench").url).removesuffix("/bench")

    def deploy(self, name: str) -> None:
        params = {"model": self._model, "name": name, "num_cpus": _CPUS}
        LocalExecutor(working_dir=_PLUGIN, logger=NoOpLogger()).execute("deploy", params)

    def delete(self, name: str) -> None:
        self._home.deployments.delete(name)

    def asker(self, name: str, body: Any) -> Ask:
        token = create_serve_multiplexed_model_id(
            self._model, audience=name, secret=(self._home.path / "serve" / "secret").read_text()
        )
        return _asker(f"{self._home.deployments.get(name).url}/predict", body, token)


class _Plain:
    """The same with Ray Serve and FastAPI alone."""

    def __init__(self, weights: Path) -> None:
        self._application = _plain_application(str(weights))

    def deploy(self, name: str) -> None:
        serve.run(self._application, name=name, route_prefix=f"/{name}")

    def delete(self, name: str) -> None:
        serve.delete(name)

    def asker(self, base: str, name: str, body: Any) -> Ask:
        return _asker(f"{base}/{name}/predict", body, None)


def _plain_application(weights: str) -> Any:
    """Return an app as one writes it by hand. Inside of a function, so that replicas get it by value."""
    import numpy as np
    from fastapi import FastAPI
    from pydantic import BaseModel

    app = FastAPI()

    class Inputs(BaseModel):
        inputs: list[list[float]]

    @serve.deployment(ray_actor_options={"num_cpus": _CPUS})
    @serve.ingress(app)
    class Plain:
        def __init__(self) -> None:
            self.model = pickle.loads(Path(weights).read_bytes())

        @app.post("/predict")
        async def predict(self, body: Inputs) -> dict[str, Any]:
            shares = self.model.predict_proba(np.asarray(body.inputs) / 16)
            return {
                "results": [
                    {"digit": int(share.argmax()), "confidence": round(float(share.max()), 4)}
                    for share in shares
                ]
            }

    return Plain.bind()


def _asker(url: str, body: Any, token: str | None) -> Ask:
    """Return what asks once, over a connection that each thread keeps."""
    local = threading.local()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def ask() -> None:
        if not hasattr(local, "client"):
            local.client = httpx.Client(trust_env=False, timeout=60, headers=headers)
        local.client.post(url, json=body).raise_for_status()

    return ask


def _latency(world: World, ours: Ask, plain: Ask) -> Iterator[Figure]:
    mine, theirs = interleaved(
        lambda: milliseconds(ours), lambda: milliseconds(plain), 200 if world.is_short else 1000
    )
    yield at_most("request to a deployment, p50 (plain Serve app)", mine, theirs, 1.15)
    late, their_late = ([statistics.quantiles(one, n=100)[98]] for one in (mine, theirs))
    yield at_most("request to a deployment, p99 (plain Serve app)", late, their_late, 1.15)


def _throughput(ours: Ask, plain: Ask) -> Figure:
    rounds = [(_rate(ours), _rate(plain)) for _ in range(_ROUNDS)]
    mine, theirs = (statistics.median(one[side] for one in rounds) for side in (0, 1))
    return Figure(
        f"requests a second from {_CALLERS} callers (plain Serve app)",
        f"{mine:.0f}/s",
        f"{theirs:.0f}/s",
        mine / theirs,
        ">= 0.87 x",
        mine >= 0.87 * theirs,
        f"({_ROUNDS} rounds of {_LOAD_SECONDS:g} s)",
    )


def _rate(ask: Ask) -> float:
    """Return how many requests a second are answered."""
    end = time.monotonic() + _LOAD_SECONDS
    counts = [0] * _CALLERS

    def work(number: int) -> None:
        while time.monotonic() < end:
            ask()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(_CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / _LOAD_SECONDS


def _warm_deploy(world: World, ours: _Ours, plain: _Plain, body: Any) -> Figure:
    """A first version, from the call until it has answered a request; it is deleted unmeasured."""
    names = (f"warm{number}" for number in itertools.count())

    def by_us() -> float:
        name = next(names)
        took = milliseconds(lambda: ours.deploy(name))
        ours.delete(name)
        return took

    def by_hand() -> float:
        name = next(names)

        def deploy() -> None:
            plain.deploy(name)
            plain.asker(ours.base, name, body)()

        took = milliseconds(deploy)
        plain.delete(name)
        return took

    mine, theirs = interleaved(by_us, by_hand, 3 if world.is_short else 7)
    return at_most("deploy, warm, until it answers (serve.run + request)", mine, theirs, 1.3)


def _recovery(world: World, ours: Ask, plain: Ask) -> Figure:
    """From the kill -9 of an only replica until a request is answered again."""
    address = world.cluster.status().dashboard_url

    def recovered(is_ours: bool, ask: Ask) -> float:
        replica = next(
            each
            for each in list_actors(address=address, filters=[("state", "=", "ALIVE")])
            if (name := each.class_name or "").startswith("ServeReplica:")
            and name.startswith("ServeReplica:plain:") is not is_ours
        )

        def answered() -> bool:
            try:
                ask()
            except httpx.HTTPError:
                time.sleep(_ASK_AGAIN_SECONDS)
                return False
            return True

        def recover() -> None:
            os.kill(replica.pid, signal.SIGKILL)
            while not answered():
                pass

        return milliseconds(recover)

    mine, theirs = interleaved(
        lambda: recovered(True, ours), lambda: recovered(False, plain), 3 if world.is_short else 7
    )
    return at_most("kill -9 of a replica, until it answers (plain Serve app)", mine, theirs, 1.25)
