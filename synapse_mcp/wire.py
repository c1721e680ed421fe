"""The stdio wire: private descriptors that nothing else can write to, and a server that always ends in time.

What the messages mean is the SDK's business; what starts the server is `__main__`'s.

Only the standard library is imported at the top: `claim_wire` has to run before the first import that may
print. The functions that need anyio or the SDK import them themselves, marked "after the claim".
"""

from __future__ import annotations

import array
import asyncio
import atexit
import contextlib
import fcntl
import io
import logging
import os
import select
import signal
import stat
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp_types import JSONRPCMessage

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024 * 1024
DRAIN_SECONDS = 0.15  # after the end of input, for answers that are nearly ready: `printf ... | synapse-mcp`
TAKE_SECONDS = 1.0  # for a client to take a notification before the answer behind it
FLUSH_SECONDS = 0.15  # after the server has ended, for a client that is slow to read its last answers
_LOOK_SECONDS = 0.001
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NO_SIGNAL = 128  # what is added to an exit code, to tell it from the number of a signal


@dataclass(frozen=True)
class Wire:
    """The two descriptors through which the client talks, both above 2 and not inherited by children."""

    read_fd: int
    write_fd: int


def claim_wire() -> Wire:
    """Move the client's pipes from descriptors 0 and 1 to private ones; call it once, before heavy imports.

    From then on descriptor 0 is at its end and 1 is stderr, for this process and its children, so that no
    print, C library or shell command can break the protocol. A forked child would keep the wire open: start
    children by spawn or exec.
    """
    wire = Wire(_private_copy(0), _private_copy(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout.flush()  # what was printed before the claim leaves its buffer now, to stderr
    raw = io.FileIO(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True, write_through=True)
    return wire


def serve_stdio(server: MCPServer[Any], wire: Wire, grace_seconds: float = 2.0) -> NoReturn:
    """Serve until the client leaves or a signal comes, clean up, and end the process. Main thread only.

    The exit code is 0 when the client has left and 128 + n after SIGTERM, SIGINT or SIGHUP. The lifespan's
    exit and the atexit handlers run, in this order; where they or a tool that cannot be cancelled (a plain
    `def`) need more than grace_seconds, the process ends without waiting for the rest.
    An error of the server itself, such as a lifespan that fails to start, is raised.
    """
    ending = Ending(grace_seconds)
    try:
        asyncio.run(_serve(server, wire, ending))
    except BaseException:
        ending.begin(1)  # the interpreter reports the error, but it too would wait for stuck threads
        raise
    atexit._run_exitfuncs()  # not sys.exit: that joins worker threads first, and one may be stuck in a tool
    with contextlib.suppress(OSError, ValueError):  # nobody reads stderr, or a tool closed sys.stdout
        sys.stdout.flush()
    os._exit(ending.code)


async def _serve(server: MCPServer[Any], wire: Wire, ending: Ending) -> None:
    """Connect the wire to the server; return when the server has ended and its last answer is written."""
    import anyio  # after the claim

    # The SDK runs an MCPServer only on descriptors 0 and 1; its low-level server takes any pair of streams.
    low = server._lowlevel_server
    transport = _Transport(wire, ending)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.feed)
        tasks.start_soon(transport.write)
        ending.watch(transport.stop_soon)
        threading.Thread(target=transport.read, name="wire-reader", daemon=True).start()  # its read blocks
        await low.run(transport.from_client, transport.to_client, low.create_initialization_options())
        tasks.cancel_scope.deadline = anyio.current_time() + FLUSH_SECONDS


class Ending:
    """The first reason to end decides the exit code; from then on the process has grace_seconds left."""

    def __init__(self, grace_seconds: float) -> None:
        self.code = 0
        self._grace_seconds = grace_seconds
        self._reasons, self._told = os.pipe()
        os.set_blocking(self._told, False)

    def begin(self, code: int) -> None:
        """Ask the process to end, from any thread; only the first call counts. Codes: 0 to 127."""
        with contextlib.suppress(BlockingIOError):  # a pipe that is full of reasons holds the first
            os.write(self._told, bytes([_NO_SIGNAL + code]))

    def watch(self, stop: Callable[[int], None]) -> None:
        """Take over the signals, and call `stop` with the exit code as soon as there is one."""
        # Not by handlers in Python, nor the event loop's own: they would wait behind a tool that blocks the
        # main thread, and for the next event if the signal comes just before that thread begins to wait.
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        for number in _ENDING_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        threading.Thread(target=self._watch, args=(stop,), name="wire-ending", daemon=True).start()

    def _watch(self, stop: Callable[[int], None]) -> None:
        self.code = self._first_reason()
        stop(self.code)
        time.sleep(self._grace_seconds)
        # Not by logging: its lock, or a stderr that nobody reads, may be what is stuck.
        with contextlib.suppress(OSError):
            if _takes_bytes(2):
                os.write(2, b"The cleanup took longer than its grace; leaving without it.\n")
        os._exit(self.code)

    def _first_reason(self) -> int:
        """Wait for a byte: the number of a signal, or what `begin` was given."""
        while (reason := os.read(self._reasons, 1)[0]) < _NO_SIGNAL and reason not in _ENDING_SIGNALS:
            pass  # a signal that others handle
        return reason - _NO_SIGNAL if reason >= _NO_SIGNAL else 128 + reason


class _Transport:
    """Between the wire's bytes and the SDK's streams of messages; knows how many requests await an answer.

    `read` and `stop_soon` run in other threads, the rest in the event loop.
    """

    def __init__(self, wire: Wire, ending: Ending) -> None:
        import anyio  # after the claim
        from mcp.shared.message import SessionMessage

        self._wire = wire
        self._ending = ending
        self._to_server, self.from_client = anyio.create_memory_object_stream[SessionMessage | Exception]()
        self.to_client, self._from_server = anyio.create_memory_object_stream[SessionMessage]()
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[list[bytes] | None] = asyncio.Queue()
        self._consumed = threading.Semaphore(0)
        self._feeding = anyio.CancelScope()
        self._unanswered = 0
        self._settled = asyncio.Event()
        self._writers = anyio.CapacityLimiter(1)  # stuck tools may have used up the limit that all share

    def read(self) -> None:
        """Hand over the client's lines, and read on once they are consumed: the pipe holds back a flood."""
        try:
            for lines in _batches_of_lines(self._wire.read_fd):
                self._call_soon(self._batches.put_nowait, lines)
                self._consumed.acquire()
        finally:
            self._ending.begin(0)

    def stop_soon(self, code: int) -> None:
        """End the server's input: at once on a signal, after a short chance to answer if the client left."""
        if code:
            self._call_soon(self._feeding.cancel)
        else:
            self._call_soon(self._batches.put_nowait, None)

    def _call_soon(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so there is nobody left to tell
            self._loop.call_soon_threadsafe(function, *args)

    async def feed(self) -> None:
        """Give the server every message of the client, in order; its input ends when this returns."""
        from anyio import BrokenResourceError, ClosedResourceError, move_on_after  # after the claim

        # The streams are closed under us when the client has stopped reading or the server has failed.
        gone = contextlib.suppress(BrokenResourceError, ClosedResourceError)
        with gone, self._feeding, self._to_server:
            while (lines := await self._batches.get()) is not None:
                for line in filter(bytes.strip, lines):
                    await self._accept(line)
                self._consumed.release()
            with move_on_after(DRAIN_SECONDS):
                while self._unanswered:
                    self._settled.clear()
                    await self._settled.wait()

    async def _accept(self, line: bytes) -> None:
        """Pass one line on as a message, or answer what is wrong with it."""
        from mcp import MCPError  # after the claim
        from mcp.shared.message import ServerMessageMetadata, SessionMessage
        from mcp_types import JSONRPCError, JSONRPCRequest

        try:
            message = _to_message(line)
        except MCPError as refusal:
            logger.warning("%s", refusal)
            self._unanswered += 1
            error = JSONRPCError(jsonrpc="2.0", id=None, error=refusal.error)
            await self.to_client.send(SessionMessage(error))
            return
        if isinstance(message, JSONRPCRequest):
            self._unanswered += 1
        metadata = ServerMessageMetadata(on_request_unanswered=self._settle)
        await self._to_server.send(SessionMessage(message, metadata))

    async def write(self) -> None:
        """Write every message to the client until the server closes the stream or the client is gone."""
        from mcp_types import JSONRPCError, JSONRPCResponse  # after the claim

        has_told = False
        with self._from_server:
            async for item in self._from_server:
                is_answer = isinstance(item.message, JSONRPCResponse | JSONRPCError)
                try:
                    if is_answer and has_told:
                        await self._until_taken()
                    await self._write_line(_to_line(item.message))
                except OSError as error:
                    logger.info("The client no longer reads (%s); ending.", error.strerror)
                    self._ending.begin(0)
                    break
                has_told = not is_answer
                if is_answer:
                    await self._settle()

    async def _until_taken(self) -> None:
        """Wait until the client has read what was written, for a while.

        Clients in TypeScript lose the progress that they read together with the answer.
        """
        from anyio import sleep  # after the claim

        deadline = time.monotonic() + TAKE_SECONDS
        while _unread(self._wire.write_fd) and time.monotonic() < deadline:
            await sleep(_LOOK_SECONDS)

    async def _write_line(self, line: bytes) -> None:
        from anyio import to_thread  # after the claim

        fd = self._wire.write_fd
        if len(line) <= select.PIPE_BUF and _takes_bytes(fd):
            return _write_all(fd, line)  # cannot block, and saves the turn of a thread
        return await to_thread.run_sync(_write_all, fd, line, abandon_on_cancel=True, limiter=self._writers)

    async def _settle(self) -> None:
        """Count one request as done: its answer is written, or it was cancelled and gets none."""
        self._unanswered -= 1
        self._settled.set()


def _to_message(line: bytes) -> JSONRPCMessage:
    """Decode one line. Raises MCPError with the code that JSON-RPC has for what is wrong with it."""
    from mcp import MCPError  # after the claim
    from mcp_types import INVALID_REQUEST, PARSE_ERROR, jsonrpc_message_adapter
    from pydantic import ValidationError

    if len(line) > MAX_LINE_BYTES:
        raise MCPError(INVALID_REQUEST, f"Dropped a line of more than {MAX_LINE_BYTES} bytes.")
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        if error.errors(include_input=False)[0]["type"] == "json_invalid":
            raise MCPError(PARSE_ERROR, "Dropped a line that is not JSON in UTF-8.") from error
        raise MCPError(INVALID_REQUEST, "Dropped a line that is not a JSON-RPC 2.0 message.") from error


def _to_line(message: JSONRPCMessage) -> bytes:
    """Encode one message; a request whose answer cannot be encoded gets an error instead."""
    from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, JSONRPCResponse  # after the claim
    from pydantic_core import PydanticSerializationError

    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except PydanticSerializationError as error:  # half a surrogate pair, as in a file name that is not UTF-8
        logger.error("A message cannot be sent: %s", error)
        if not isinstance(message, JSONRPCResponse):
            return b""
        failure = ErrorData(code=INTERNAL_ERROR, message="The answer holds text that is not valid Unicode.")
        return _to_line(JSONRPCError(jsonrpc="2.0", id=message.id, error=failure))


def _batches_of_lines(fd: int) -> Iterator[list[bytes]]:
    """Yield the lines that each read completes, and at the end what had no newline."""
    head = bytearray()  # of a line whose end has not come
    with contextlib.suppress(OSError):  # a reset by a socket's peer is the end of input by another name
        while chunk := os.read(fd, 1 << 16):
            *ends, rest = chunk.split(b"\n")
            lines = []
            for end in ends:
                lines.append(bytes(head) + end)
                head.clear()
            if len(head) <= MAX_LINE_BYTES:  # grows only until it is known to be too long
                head += rest
            yield lines
    yield [bytes(head)]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _takes_bytes(fd: int) -> bool:
    """Tell whether PIPE_BUF bytes can be written, or fail to be, without waiting."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _unread(fd: int) -> int:
    """Return how much of what was written waits for its reader, 0 where the system does not tell.

    Bytes for a pipe; for a socket, as which Node starts its children, what they take up in the kernel.
    """
    told = array.array("i", [0])
    with contextlib.suppress(OSError):
        is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
        fcntl.ioctl(fd, termios.TIOCOUTQ if is_socket else termios.FIONREAD, told)
    return told[0]


def _private_copy(fd: int) -> int:
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.set_blocking(copy, True)  # a client may hand over its own non-blocking end
    return copy
