"""Secrets: planted wherever they could surface, and looked for wherever they must not."""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest
from mcp import Client
from onboarding.written_plugins import write_plugin
from tests_support import files_with

from synapse_mcp.masking import MASK, MaskingFormatter, masked, masked_data
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings

ENVIRONMENT = "canary-env+7f3a/9b2c=5d1e"
PROFILE = "canary-profile-4c8e1f0a6b"
PASSWORD = "canary-pass-0a1b2c3d"
CANARIES = (ENVIRONMENT, PROFILE, PASSWORD)

LEAKY = """
import base64, os, sys
from urllib.parse import quote
from pydantic import BaseModel
from synapse_core import BaseAction
from synapse_core.errors import SynapseError


class Params(BaseModel):
    way: str


class Act(BaseAction[Params]):
    def execute(self):
        env, db = os.environ["LAB_API_KEY"], os.environ["LAB_DATABASE_URL"]
        token = open(os.environ["LAB_TOKEN_FILE"]).read()
        told = [env, db, token, quote(env, safe=""), base64.b64encode(f"user:{env}".encode()).decode()]
        for text in told:
            print("printed", text, flush=True)
            sys.stderr.write(f"complained {text}\\n")
            self.ctx.log_message(f"said {text}")
            self.ctx.log("event", {"value": text})
        print("x" * 1990 + token + "after")
        self.ctx.set_progress(1, 2, step=f"with {env}")
        self.ctx.set_metrics({env: 1.0}, step=env)
        (self.ctx.artifacts_dir / "report.txt").write_text("nothing")
        self.ctx.add_artifact(self.ctx.artifacts_dir / "report.txt", f"report of {token}")
        if self.params.way == "raise":
            raise RuntimeError("x" * 380 + " ".join(told))
        if self.params.way == "refuse":
            raise SynapseError(f"no {token}", {"auth": db}, hint=f"use {env}")
        if self.params.way == "kill":
            os.kill(os.getpid(), 9)
        return {"all": told, token: 1, "long": "y" * 1380 + token + "y" * 300}
"""


@pytest.fixture
def planted(home: Path, tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose environment, profile and plugin know secrets."""
    token_file = tmp_path / "lab.token"
    token_file.write_text(f"{PROFILE}\n")
    token_file.chmod(0o600)
    config = Path(os.environ["SYNAPSE_CONFIG"])
    config.write_text(f"profiles:\n  lab:\n    token_path: {token_file}\n")
    config.chmod(0o600)
    monkeypatch.setenv("LAB_API_KEY", ENVIRONMENT)
    monkeypatch.setenv("LAB_DATABASE_URL", f"postgresql://me:{PASSWORD}@db.test/x")
    monkeypatch.setenv("LAB_TOKEN_FILE", str(token_file))
    write_plugin(
        plugins, "leaky", LEAKY, "env: {LAB_API_KEY: null, LAB_DATABASE_URL: null, LAB_TOKEN_FILE: null}"
    )
    return home


def assert_clean(wire: str) -> None:
    """No canary is in a text: as it is, by halves at a cut, or in another form."""
    for canary in CANARIES:
        assert canary not in wire
        assert canary[:16] not in wire
        assert quote(canary, safe="") not in wire
        for before in (b"", b"user:"):
            code = base64.b64encode(before + canary.encode()).decode()
            assert code[8:-6] not in wire


async def everything_of(client: Client, run_id: str) -> list[str]:
    """Return all that the server tells of a run, and of what is around it."""
    named = {"run_id": run_id}
    calls = [
        ("get_run", named),
        ("list_runs", {}),
        ("get_status", {}),
        ("list_plugins", {}),
        ("describe_plugin", {"plugin": "leaky"}),
        *(
            ("get_run_logs", {**named, **more})
            for more in (
                {},
                {"tail": 1000},
                {"grep": "canary"},
                {"cursor": 0},
                {"level": "info"},
                {"grep": "printed canary-e"},
                {"tail": 1},
            )
        ),
    ]
    told = [(await client.call_tool(tool, arguments)).model_dump_json() for tool, arguments in calls]
    resources = (await client.list_resources()).resources
    told.extend([(await client.read_resource(each.uri)).model_dump_json() for each in resources])
    return told


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["return", "raise", "refuse", "kill"])
async def test_no_planted_secret_reaches_the_wire_or_a_file_that_others_can_read(
    planted, plugins, way, capfd
):
    said: list[str] = []

    async def hear(_progress: float, _total: float | None, message: str | None) -> None:
        said.append(message or "")

    server = build_server(Settings.make([str(plugins)], profile="lab"))
    async with Client(server) as client:
        reply = await client.call_tool(
            "run_action",
            {"plugin": "leaky", "action": "act", "params": {"way": way}, "mode": "local"},
            progress_callback=hear,
        )
        structure = reply.structured_content or {}
        run_id = structure.get("run", structure)["run_id"]
        told = await everything_of(client, run_id)

    assert reply.is_error == (way != "return")
    for text in (reply.model_dump_json(), *said, *told, *capfd.readouterr()):
        assert_clean(text)
    assert MASK in "".join(told)
    for file in files_with(planted, b"canary-"):
        private = [file, *(each for each in file.parents if each.is_relative_to(planted))]
        assert any(each.stat().st_mode & 0o077 == 0 for each in private), file


@pytest.mark.anyio
@pytest.mark.ray
@pytest.mark.parametrize("mode", ["task", "job"])
async def test_no_planted_secret_is_in_what_ray_keeps(planted, plugins, mode, ray_home, cluster, monkeypatch):
    monkeypatch.setenv("SYNAPSE_HOME", str(ray_home))
    asked = {"plugin": "leaky", "action": "act", "params": {"way": "raise"}, "mode": mode, "wait_seconds": 50}
    async with Client(build_server(Settings.make([str(plugins)], profile="lab"))) as client:
        reply = await client.call_tool("run_action", asked)
    folder = ray_home / "runs" / reply.structured_content["run"]["run_id"]
    cluster.connect()
    from ray.util.state import list_actors, list_jobs, list_tasks  # it is imported where a cluster is

    every = {"address": cluster.status().dashboard_url, "detail": True, "limit": 10_000}
    recorded = [str(lists(**every)) for lists in (list_actors, list_jobs, list_tasks)]
    kept = Path(json.loads((ray_home / "ray" / "cluster.json").read_bytes())["temp_dir"])

    assert f"printed {ENVIRONMENT}" in (folder / "output.log").read_text(), "the run knew it"
    for text in (reply.model_dump_json(), *recorded):
        assert_clean(text)
    assert files_with(kept, b"canary-") == []


@pytest.mark.anyio
async def test_what_a_backend_says_with_a_token_in_it_is_masked(planted, tmp_path, plugins):
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = json.dumps({"detail": f"who is {self.headers.get('authorization')}?"}).encode()
            self.send_response(403)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None: ...

    backend = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=backend.serve_forever, daemon=True).start()
    config = Path(os.environ["SYNAPSE_CONFIG"])
    address = "http://{}:{}".format(*backend.server_address)
    config.write_text(config.read_text() + f"    backend_url: {address}\n")
    try:
        async with Client(build_server(Settings.make([str(plugins)], profile="lab"))) as client:
            status = await client.call_tool("get_status", {})
            models = await client.call_tool("list_models", {})
    finally:
        backend.shutdown()
        backend.server_close()

    assert models.is_error
    assert_clean(status.model_dump_json() + models.model_dump_json())


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 9,
        "glpat-" + "a1B2" * 6,
        "hf_" + "a1B2" * 9,
        "sk-ant-" + "a1B2" * 6,
        "xoxb-" + "123456789012-abc",
        "AIza" + "a1B2c" * 7,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\nabc\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq",
        "MIIEpAIBAAKCAQEA7bqXYZ123\n-----END PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_key_is_masked_wherever_it_stands(secret):
    for text in (secret, f"first line\n{secret}", f'{{"a": "{secret}"}}', f"key={secret}, and more"):
        assert secret not in masked(text)
        assert MASK in masked(text)
        assert secret not in json.dumps(masked_data({"a": [text], text: "b"}))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer ***"),
        ('{"authorization": "Basic dXNlcjpwYXNzd29yZA=="}', '{"authorization": "Basic ***"}'),
        ("postgres://me:hunter2@db/x", "postgres://me:***@db/x"),
        ("https://x.test/a?token=abcdef123&b=1", "https://x.test/a?token=***&b=1"),
        ("aws_secret_access_key = " + "a1B2/" * 8, "aws_secret_access_key = ***"),
    ],
)
def test_what_stands_around_a_secret_is_left(text, left):
    assert masked(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "task-run-with-a-quite-long-name-of-its-own",
        "epoch 3/10 loss=0.1234 max_tokens=4096 next_token=12",
        "https://example.test:8080/a?page=2&sort=name",
        "bearer of bad news",
        "2026-11-21T18:40:21 INFO step one finished after 0.01 s",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "user@example.test wrote to http://localhost:80/",
    ],
)
def test_ordinary_text_is_left_as_it_is(text):
    assert masked(text) == text


def test_a_megabyte_of_log_is_masked_quickly():
    line = "12:00:01 INFO     epoch 3/10 loss=0.1234 https://example.test:8080/run?page=1 bearer eyJx sk-no\n"
    text = line * (1_000_000 // len(line)) + "ghp_" + "a" * 36

    # The best of several: the machine has other work.
    took = []
    for _ in range(7):
        began = time.process_time()
        found = masked(text)
        took.append(time.process_time() - began)

    assert found.endswith(MASK)
    assert min(took) < 0.1


def test_the_log_of_the_server_itself_is_masked(monkeypatch):
    monkeypatch.setenv("LAB_API_KEY", ENVIRONMENT)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed with %s", (ENVIRONMENT,), None)

    assert MaskingFormatter("%(message)s").format(record) == "failed with ***"
