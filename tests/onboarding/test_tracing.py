"""OpenTelemetry: one trace from the client through the server to the steps of the run, only when asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from onboarding.written_plugins import write_plugin
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests_support import files_with

STEPS = """
from pydantic import BaseModel
from synapse_core import BaseAction
from synapse_core.steps import BaseStep, Orchestrator, StepRegistry, StepResult
from synapse_core.steps.context import BaseStepContext


class One(BaseStep):
    name = "one"
    progress_weight = 1.0
    def execute(self, context):
        return StepResult()


class Two(One):
    name = "two"


class Act(BaseAction):
    def execute(self):
        steps = StepRegistry()
        steps.register(One())
        steps.register(Two())
        return Orchestrator(steps, BaseStepContext(runtime_ctx=self.ctx)).execute()
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


class Receiver:
    """A real receiver of OTLP over HTTP. spans: (service, span) as they came."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, object]] = []
        self.headers: list[str] = []
        self.news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest.FromString(body)
                with receiver.news:
                    receiver.headers.append(self.headers.get("x-key", ""))
                    for group in request.resource_spans:
                        (service,) = (
                            each.value.string_value
                            for each in group.resource.attributes
                            if each.key == "service.name"
                        )
                        receiver.spans += [
                            (service, span) for scope in group.scope_spans for span in scope.spans
                        ]
                    receiver.news.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until(self, *names: str) -> dict[str, object]:
        """Return the spans of these names when all of them have come."""
        with self.news:
            assert self.news.wait_for(lambda: {*names} <= {span.name for _, span in self.spans}, 30), [
                span.name for _, span in self.spans
            ]
            return {span.name: span for _, span in self.spans}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


def server(home: Path, plugins: Path, receiver: Receiver, *switches: str) -> StdioServerParameters:
    address = "http://{}:{}".format(*receiver.server.server_address)
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp", "--plugins", str(plugins), *switches],
        env={
            **os.environ,
            "SYNAPSE_HOME": str(home),
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=canary-of-the-collector",
        },
    )


async def run_steps(parameters: StdioServerParameters, mode: str = "local") -> None:
    with anyio.fail_after(60):
        async with Client(parameters) as client:
            reply = await client.call_tool(
                "run_action",
                {"plugin": "stepwise", "action": "act", "mode": mode, "wait_seconds": 50},
                meta={"traceparent": f"00-{TRACE}-{CALLER}-01"},
            )
            assert not reply.is_error, reply.content


@pytest.mark.anyio
@pytest.mark.parametrize(
    "mode", ["local", *(pytest.param(mode, marks=pytest.mark.ray) for mode in ("task", "job"))]
)
async def test_one_trace_goes_from_the_client_through_the_tool_and_the_run_to_its_steps(
    home, plugins, receiver, mode, request
):
    if mode != "local":
        home = request.getfixturevalue("ray_home")
    write_plugin(plugins, "stepwise", STEPS)

    await run_steps(server(home, plugins, receiver, "--otel"), mode)

    names = ("tools/call run_action", "run stepwise/act", "step one", "step two")
    spans = receiver.until(*names)
    tool, run, *steps = (spans[name] for name in names)
    assert {span.trace_id.hex() for span in (tool, run, *steps)} == {TRACE}
    assert tool.parent_span_id.hex() == CALLER
    assert run.parent_span_id == tool.span_id
    assert [step.parent_span_id for step in steps] == [run.span_id] * 2
    assert {service for service, span in receiver.spans if span.name.startswith(("run", "step"))} == {
        "synapse-run"
    }
    assert set(receiver.headers) == {"canary-of-the-collector"}
    # How the collector is reached goes from hand to hand and is not written down.
    assert files_with(home, b"")
    assert files_with(home, b"canary-of-the-collector") == []
    if mode != "local":
        of_ray = Path(json.loads((home / "ray" / "cluster.json").read_bytes())["temp_dir"])
        assert files_with(of_ray, b"canary-of-the-collector") == []


@pytest.mark.anyio
async def test_without_being_asked_nothing_is_sent(home, plugins, receiver):
    write_plugin(plugins, "stepwise", STEPS)

    await run_steps(server(home, plugins, receiver))

    assert receiver.spans == []


def test_without_being_asked_nothing_of_it_is_imported():
    code = (
        "import sys, synapse_mcp.server, synapse_core.worker; from synapse_mcp.settings import Settings; "
        "from synapse_mcp.app import App; App(Settings.make()); sys.stdout.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = done.stdout.split()
    assert "synapse_mcp.app" in loaded
    assert [name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))] == []


def test_where_the_package_is_missing_the_server_says_what_to_install(tmp_path):
    # A package of that name without the exporter hides the installed one.
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry/__init__.py").write_text("")
    code = "import sys; from synapse_mcp.settings import parse_arguments; parse_arguments(['--otel'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )

    assert done.returncode == 2
    assert "pip install 'synapse-mcp[otel]'" in done.stderr
    assert "Traceback" not in done.stderr
