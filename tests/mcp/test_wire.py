"""The stdio wire, seen from the client's end of real pipes; `wire_server.py` is at the other end."""

from __future__ import annotations

import collections
import functools
import itertools
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self

import anyio
import pytest
from mcp import Client, StdioServerParameters

WIRE_SERVER = Path(__file__).with_name("wire_server.py")
FAIL_SAFE_SECONDS = 180  # never reached when all is well
GRACE_SECONDS = 2.0
MIB = 1024 * 1024

MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
LEGACY_OPENING = [
    {
        "jsonrpc": "2.0",
        "id": "opening",
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "wire-tests", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
]


def request(id_: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": {**params, "_meta": MODERN_META}}


def call(id_: int, tool: str, **arguments: Any) -> dict[str, Any]:
    return request(id_, "tools/call", name=tool, arguments=arguments)


def lines(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def text_of(answer: dict[str, Any]) -> str:
    return answer["result"]["content"][0]["text"]


class Output:
    """What a server writes to one pipe, line by line as it comes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(pipe,))
        self._reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._lines.put(line)
        self._lines.put(None)

    def __iter__(self) -> Iterator[bytes]:
        """Yield lines until the server has closed the pipe."""
        while (line := self._lines.get(timeout=FAIL_SAFE_SECONDS)) is not None:
            yield line

    def wait_for(self, text: bytes) -> None:
        assert any(text in line for line in self), f"the server ended without saying {text!r}"

    def join(self) -> None:
        self._reader.join()


class Server:
    """A server process, which starts in the background and is killed on exit if it still runs."""

    def __init__(self, marks: Path, script: Path = WIRE_SERVER) -> None:
        self._marks = marks
        command = [sys.executable, str(script), str(marks), str(GRACE_SECONDS)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self._fail_safe = threading.Timer(FAIL_SAFE_SECONDS, self.process.kill)
        self.stderr = Output(self.process.stderr)
        self._outputs = [self.stderr]

    @functools.cached_property
    def stdout(self) -> Output:
        """Read from the first use on: some clients do not read at all."""
        self._outputs.append(Output(self.process.stdout))
        return self._outputs[-1]

    def __enter__(self) -> Self:
        self._fail_safe.start()  # not before: a spare one may wait for long
        return self

    def __exit__(self, *_: object) -> None:
        self._fail_safe.cancel()
        with self.process:
            self.process.kill()
            for output in self._outputs:
                output.join()

    def send(self, raw: bytes) -> None:
        self.process.stdin.write(raw)
        self.process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what the server says to the client. Fails on a line that is not JSON-RPC."""
        for line in self.stdout:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            yield message

    def answers(self, count: int) -> dict[Any, dict[str, Any]]:
        """Wait for so many answers and return them by their request's id."""
        return {message["id"]: message for message in itertools.islice(self.messages(), count)}

    def end(self, how: Callable[[subprocess.Popen[bytes]], object]) -> tuple[int, float]:
        """Return the exit code, and the seconds it took to come."""
        started = time.monotonic()
        how(self.process)
        code = self.process.wait()
        return code, time.monotonic() - started

    def cleanups(self) -> set[str]:
        return {mark.name for mark in self._marks.iterdir()}


@pytest.fixture(scope="module")
def spare_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Server]]:
    """Give a server that nobody used. Two start ahead of their turn, for starting takes most of the time."""
    spares = collections.deque(Server(tmp_path_factory.mktemp("marks")) for _ in range(2))

    def take() -> Server:
        spares.append(Server(tmp_path_factory.mktemp("marks")))
        return spares.popleft()

    yield take
    for server in spares:
        with server:
            pass


@pytest.fixture
def server(spare_servers: Callable[[], Server]) -> Iterator[Server]:
    with spare_servers() as server:
        yield server


@pytest.fixture(scope="module")
def lasting_server(spare_servers: Callable[[], Server]) -> Iterator[Server]:
    """One server for all the tests that leave it running."""
    with spare_servers() as server:
        yield server


def close_stdin(process: subprocess.Popen[bytes]) -> None:
    process.stdin.close()


def send_signal(number: signal.Signals) -> Callable[[subprocess.Popen[bytes]], None]:
    return lambda process: process.send_signal(number)


# Nothing but answers on the wire.


@pytest.mark.parametrize("opening", [[], LEGACY_OPENING], ids=["2026-07-28", "2025-11-25"])
def test_only_messages_reach_the_client_whatever_the_server_prints(server, opening):
    printing = call(1, "print_in_every_way")
    if opening:
        del printing["params"]["_meta"]
    server.send(lines(*opening, printing))
    answers = server.answers(2 if opening else 1)
    server.end(close_stdin)
    rest = list(server.messages())
    stderr = b"".join(server.stderr)

    assert text_of(answers[1]) == ""  # the child's stdin was at its end, it could not eat a request
    assert rest == []
    for stray in (
        b"printed at import",
        b"printed by print",
        b"printed without newline",
        b"written to the descriptor",
        b"written to the buffer",
        b"written to the first stdout",
        b"\xff\x00\xfe binary",
        b"not text: \\udcff",
        b"echoed by a shell",
        b"echoed by a child",
        b"printed at exit",
        b"printed at exit without newline",
    ):
        assert stray in stderr


def test_the_official_client_is_served_and_leaves_in_order(tmp_path):
    async def talk() -> str:
        parameters = StdioServerParameters(
            command=sys.executable, args=[str(WIRE_SERVER), str(tmp_path), str(GRACE_SECONDS)]
        )
        async with Client(parameters) as client:
            await client.call_tool("print_in_every_way", {})
            answer = await client.call_tool("echo", {"text": "hello"})
            return answer.content[0].text

    assert anyio.run(talk) == "hello"
    assert {mark.name for mark in tmp_path.iterdir()} == {"lifespan-exit", "atexit"}


def test_claiming_the_wire_imports_nothing_that_could_print_first():
    code = (
        "import sys, synapse_mcp.wire; sys.exit(bool({'anyio', 'mcp', 'pydantic', 'ray'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_print_before_the_claim_goes_to_stderr_if_it_was_not_flushed():
    code = "print('early', end=' '); from synapse_mcp.wire import claim_wire; claim_wire(); print('late')"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    script = subprocess.run([sys.executable, "-c", code], capture_output=True, env=buffered, check=True)

    assert script.stdout == b""
    assert script.stderr == b"early late\n"


# Endings.

ENDINGS = [
    pytest.param(close_stdin, 0, id="end of input"),
    pytest.param(send_signal(signal.SIGTERM), 128 + 15, id="SIGTERM"),
    pytest.param(send_signal(signal.SIGINT), 128 + 2, id="SIGINT"),
]


@pytest.mark.parametrize(("how", "exit_code"), ENDINGS)
def test_an_idle_server_ends_at_once_and_cleans_up(server, how, exit_code):
    server.send(lines(call(1, "echo", text="ready")))
    server.answers(1)
    code, seconds = server.end(how)

    print(f"ended after {seconds:.3f} s")
    assert code == exit_code
    assert seconds < 1.0
    assert server.cleanups() == {"lifespan-exit", "atexit"}


@pytest.mark.parametrize(("how", "exit_code"), ENDINGS)
def test_a_tool_that_waits_is_cancelled_and_its_caller_told(server, how, exit_code):
    server.send(lines(call(1, "wait_for_ever")))
    server.stderr.wait_for(b"waiting for ever")
    code, seconds = server.end(how)
    [answer] = server.messages()

    print(f"ended after {seconds:.3f} s")
    assert code == exit_code
    assert seconds < 1.0
    assert server.cleanups() == {"lifespan-exit", "atexit"}
    assert answer["error"]["message"] == "Connection closed"


@pytest.mark.parametrize(("how", "exit_code"), ENDINGS)
def test_a_tool_that_cannot_be_cancelled_delays_the_end_by_the_grace_only(server, how, exit_code):
    server.send(lines(call(1, "sleep", seconds=60)))
    server.stderr.wait_for(b"sleeping")
    code, seconds = server.end(how)

    print(f"ended after {seconds:.3f} s")
    assert code == exit_code
    assert GRACE_SECONDS <= seconds < GRACE_SECONDS + 1.0
    assert server.cleanups() == set()
    assert b"took longer than its grace" in b"".join(server.stderr)


def test_a_tool_that_ends_within_the_grace_leaves_time_to_clean_up(server):
    server.send(lines(call(1, "sleep", seconds=0.2)))
    server.stderr.wait_for(b"sleeping")
    code, _ = server.end(send_signal(signal.SIGHUP))

    assert code == 128 + signal.SIGHUP
    assert server.cleanups() == {"lifespan-exit", "atexit"}


def test_a_tool_that_blocks_the_event_loop_cannot_outlive_the_grace(server):
    server.send(lines(call(1, "block_the_loop")))
    server.stderr.wait_for(b"blocking the loop")
    code, seconds = server.end(send_signal(signal.SIGTERM))

    assert code == 128 + signal.SIGTERM
    assert seconds < GRACE_SECONDS + 1.0


def test_a_signal_during_a_slow_start_still_runs_the_exit_of_the_lifespan(tmp_path):
    script = tmp_path / "slow_start.py"
    script.write_text(
        """
from synapse_mcp.wire import claim_wire, serve_stdio

wire = claim_wire()

from contextlib import asynccontextmanager
import anyio
from mcp.server import MCPServer

@asynccontextmanager
async def lifespan(_):
    print("starting")
    await anyio.sleep(0.5)
    try:
        yield
    finally:
        print("stopped")

serve_stdio(MCPServer("slow", lifespan=lifespan), wire)
"""
    )
    with Server(tmp_path, script) as server:
        server.stderr.wait_for(b"starting")
        code, _ = server.end(send_signal(signal.SIGTERM))
        server.stderr.wait_for(b"stopped")

    assert code == 128 + signal.SIGTERM


def test_a_server_that_cannot_start_says_why_and_fails(tmp_path):
    script = tmp_path / "no_start.py"
    script.write_text(
        """
from synapse_mcp.wire import claim_wire, serve_stdio

wire = claim_wire()

from contextlib import asynccontextmanager
from mcp.server import MCPServer

@asynccontextmanager
async def lifespan(_):
    raise OSError("no room for the runs")
    yield

serve_stdio(MCPServer("broken", lifespan=lifespan), wire)
"""
    )
    with Server(tmp_path, script) as server:
        code = server.process.wait()
        server.stderr.wait_for(b"no room for the runs")

    assert code == 1


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_an_answer_is_written_when_the_client_has_read_the_progress_before_it(tmp_path, kind):
    """Node starts its children with sockets."""
    reading, writing = os.pipe() if kind == "pipe" else map(socket.socket.detach, socket.socketpair())
    command = [sys.executable, str(WIRE_SERVER), str(tmp_path), str(GRACE_SECONDS)]
    asked = call(1, "report", times=3)
    asked["params"]["_meta"] = {**MODERN_META, "progressToken": "t"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE) as server:
        os.close(writing)
        stderr = Output(server.stderr)
        server.stdin.write(lines(asked))
        server.stdin.flush()
        seen = []
        while not seen or b'"id":1' not in seen[-1]:
            select.select([reading], [], [])
            time.sleep(0.1)  # a client that is slow to read finds all that there is by then
            seen.append(os.read(reading, 1 << 16))
        server.stdin.close()
        stderr.join()
    os.close(reading)

    assert b"notifications/progress" in b"".join(seen[:-1])
    assert [json.loads(line)["id"] for line in seen[-1].splitlines()] == [1]


def test_piped_requests_are_answered_although_the_input_ends_behind_them(tmp_path):
    requests = lines(request(1, "tools/list"), call(2, "echo", text="hello"), call(3, "sleep", seconds=0.02))
    # With more time than a user has: how soon the first answers come says nothing of whether they do.
    code = (
        "import runpy, sys, synapse_mcp.wire as wire; wire.DRAIN_SECONDS = 30.0; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    server = subprocess.run(
        [sys.executable, "-c", code, str(WIRE_SERVER), str(tmp_path), str(FAIL_SAFE_SECONDS)],
        input=requests.removesuffix(b"\n"),
        capture_output=True,
        timeout=FAIL_SAFE_SECONDS,
        check=True,
    )

    answers = {answer["id"]: answer for answer in map(json.loads, server.stdout.splitlines())}
    assert answers.keys() == {1, 2, 3}
    assert all("result" in answer for answer in answers.values())
    assert text_of(answers[2]) == "hello"


def test_a_client_that_no_longer_reads_ends_the_server_quietly(server):
    server.process.stdout.close()
    server.send(lines(call(1, "echo", text="anybody?")))

    assert server.process.wait() == 0
    assert server.cleanups() == {"lifespan-exit", "atexit"}
    assert b"Traceback" not in b"".join(server.stderr)


def test_a_client_that_lets_its_answers_pile_up_cannot_hold_the_server(server):
    server.send(lines(call(1, "repeat", text="x", times=MIB)))
    server.process.stdout.read(1)  # the answer is on its way, and too large for the pipe
    code, _ = server.end(send_signal(signal.SIGTERM))

    assert code == 128 + signal.SIGTERM
    assert server.cleanups() == {"lifespan-exit", "atexit"}


# What a client may send, all of it to one server that has to survive it.


def test_a_flood_of_calls_is_answered_completely(lasting_server):
    flood = lines(*(call(id_, "echo", text=str(id_)) for id_ in range(3000)))
    writer = threading.Thread(target=lasting_server.send, args=(flood,))  # the pipes hold less than the flood
    writer.start()
    answers = lasting_server.answers(3000)
    writer.join()

    assert {id_: text_of(answer) for id_, answer in answers.items()} == {n: str(n) for n in range(3000)}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        pytest.param(b"x" * (16 * MIB + 1), -32600, id="longer than 16 MiB"),
        pytest.param(b'{"text": "\xff\xfe"}', -32700, id="invalid UTF-8"),
        pytest.param(b"hello?", -32700, id="not JSON"),
        pytest.param(b"[" * 10_000, -32700, id="nested too deep"),
        pytest.param(b'{"jsonrpc": "1.0"}', -32600, id="not JSON-RPC"),
    ],
)
def test_a_broken_line_is_refused_and_the_next_one_served(lasting_server, broken, code):
    lasting_server.send(broken + b"\n" + lines(call(7, "echo", text="still here")))
    answers = lasting_server.answers(2)

    assert answers[None]["error"]["code"] == code
    assert text_of(answers[7]) == "still here"


def test_blank_lines_and_carriage_returns_are_not_messages(lasting_server):
    lasting_server.send(b"\n \n\r\n" + lines(call(8, "echo", text="still here")).replace(b"\n", b"\r\n"))

    assert text_of(lasting_server.answers(1)[8]) == "still here"


def test_an_answer_larger_than_the_pipe_arrives_whole(lasting_server):
    lasting_server.send(lines(call(9, "repeat", text="é", times=MIB)))

    assert text_of(lasting_server.answers(1)[9]) == "é" * MIB


def test_an_answer_that_cannot_be_encoded_becomes_an_error(lasting_server):
    lasting_server.send(lines(call(10, "half_a_character")))

    assert "not valid Unicode" in lasting_server.answers(1)[10]["error"]["message"]


def test_a_cancelled_call_gets_no_answer_and_the_next_one_does(lasting_server):
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 11}}
    lasting_server.send(lines(call(11, "wait_for_ever")))
    lasting_server.stderr.wait_for(b"waiting for ever")
    lasting_server.send(lines(cancelled, call(12, "echo", text="still here")))

    assert lasting_server.answers(1).keys() == {12}
