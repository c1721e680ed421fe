"""A dashboard over a home of the test's own, real runs in it, and a browser to look at it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests_dashboard import EVIL

from synapse_core.home import Home
from synapse_core.runs import Run
from synapse_core.runs.request import make_request
from synapse_mcp.dashboard import Service, create_app
from synapse_mcp.dashboard.changes import Stopping
from synapse_mcp.dashboard.gate import Access
from synapse_mcp.dashboard.queries import Queries
from synapse_mcp.settings import Settings

TRAINER = '''
"""A training whose epochs end when a file appears: the test decides how far it is."""

import time
from pathlib import Path

from pydantic import BaseModel

from synapse_core import BaseAction


class Params(BaseModel):
    epochs: int = 8
    gate: str
    words: str = ""


class TrainAction(BaseAction[Params]):
    def execute(self):
        print("printed " + self.params.words)
        for epoch in range(1, self.params.epochs + 1):
            if epoch == self.params.epochs // 2 + 1:
                while not Path(self.params.gate).exists():
                    time.sleep(0.02)
            self.set_metrics({"epoch": epoch, "loss": 1 / epoch}, category="train")
            self.set_metrics({"epoch": epoch, "loss": 1.2 / epoch}, category="validation")
            self.set_progress(epoch, self.params.epochs, category="train")
            self.log_message(f"epoch {epoch} {self.params.words}")
        self.log_message("no image has a " + self.params.words, "warning")
        self.set_metrics({"loss": 0.2}, category="test")
        return {"said": self.params.words}
'''


class World:
    """A home with a plugin that trains, and its dashboard."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.gate = folder / "gate"
        root = folder / "plugins" / "trainer"
        root.mkdir(parents=True)
        action = f"    description: {json.dumps(EVIL)}\n    entrypoint: train:TrainAction\n"
        (root / "config.yaml").write_text(
            f"name: Trainer\ncode: trainer\nversion: 0.1.0\ncategory: custom\nactions:\n  train:\n{action}"
        )
        (root / "train.py").write_text(TRAINER)
        self.home = Home(settings.home, [root.parent, *settings.plugin_paths])
        self.settings = settings
        self.services: list[Service] = []

    def begin(self, plugin: str, action: str, **params: Any) -> str:
        request = make_request(
            self.home.registry, plugin, action, params, mode="local", modes=self.home.runs.modes
        )
        run, _ = self.home.runs.submit(request)
        self.home.runs.start(run.run_id)
        return run.run_id

    def train(self, **params: Any) -> str:
        return self.begin("trainer", "train", gate=str(self.gate), **params)

    def ended(self, run_id: str) -> Run:
        run = self.home.runs.wait(run_id, 60)
        assert run.is_done, run
        return run

    def serve(
        self, token: str | None = None, settings: Settings | None = None, port: int = 0
    ) -> tuple[str, Service]:
        """Return where a dashboard listens, and the dashboard."""
        stopping = Stopping()
        app = create_app(Queries(self.home, settings or self.settings), Access(token), stopping)
        service = Service(app, "127.0.0.1", port, stopping)
        self.services.append(service)
        return service.start(), service

    def close(self) -> None:
        self.gate.touch()
        for service in self.services:
            service.stop()
        for run in self.home.runs.list(state="active", limit=50)[0]:
            self.home.runs.stop(run.run_id, force=True)
        self.home.close()


@pytest.fixture
def world(tmp_path: Path, home: Path) -> Iterator[World]:
    made = World(tmp_path, Settings.make())
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    url, _ = world.serve()
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as opened:
        yield opened


# Of a module: its event loop must not be there for the tests of others.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    api.expect.set_options(timeout=30_000)
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()
