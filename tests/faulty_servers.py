"""Servers that fail, on real sockets of this machine: what answers wrongly, a proxy that loses answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Call:
    """One request: its line, its headers in lower case, and the connection that it came by."""

    method: str
    path: str
    headers: dict[str, str]
    head: bytes
    connection: socket.socket
    stopped: threading.Event

    def body(self, most: int | None = None) -> Iterator[bytes]:
        """Yield the body, or its first bytes."""
        left = int(self.headers.get("content-length", "0"))
        left = left if most is None else min(left, most)
        while left and (data := self.connection.recv(min(left, 1 << 16))):
            left -= len(data)
            yield data

    def reply(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        for _ in self.body():
            pass  # a client that is still sending would not listen
        lines = {"Content-Length": str(len(body)), "Content-Type": kind, "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}: {lines[name]}\r\n" for name in lines)
        self.connection.sendall(head.encode() + b"\r\n" + body)


@dataclass
class Seen:
    """Where a server is, and what it was asked."""

    url: str
    calls: list[Call] = field(default_factory=list)

    def paths(self, method: str) -> list[str]:
        return [call.path for call in self.calls if call.method == method]


@contextmanager
def answering(answer: Callable[[Call], None]) -> Iterator[Seen]:
    """Give a server that answers each request by `answer`, then closes its connection."""
    stopped = threading.Event()
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))
    seen = Seen(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            call = _read_head(connection, stopped)
            if call is not None:
                seen.calls.append(call)
                answer(call)

    def accept() -> None:
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept()[0],))
                threads.append(thread)
                thread.start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield seen
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join(10)


@contextmanager
def proxy(url: str, fault: Callable[[Call], str | None]) -> Iterator[Seen]:
    """Give a way to a server that fails as `fault` says of a call.

    None: it passes. 'answer': it arrives and is carried out, its answer is lost. 'request': the connection
    ends in the middle of its body. 'half': it ends in the middle of the answer.
    """
    target = urlsplit(url)

    def forward(call: Call) -> None:
        wrong = fault(call)
        if wrong == "request":
            for _ in call.body(most=1 << 16):
                pass
            return
        with socket.create_connection((target.hostname, target.port)) as service:
            line, _, rest = call.head.partition(b"\r\n")
            service.sendall(line + b"\r\nConnection: close\r\n" + rest)
            for data in call.body():
                service.sendall(data)
            received = bytearray()
            while data := service.recv(1 << 20):
                received += data
        if wrong != "answer":
            call.connection.sendall(received[: len(received) // 2] if wrong == "half" else received)

    with answering(forward) as seen:
        yield seen


def first(times: int, wrong: str, method: str, path: str) -> Callable[[Call], str | None]:
    """Return a fault of the first calls of a method and the beginning of a path."""
    left = [times]

    def fault(call: Call) -> str | None:
        if call.method != method or not call.path.startswith(path) or left[0] == 0:
            return None
        left[0] -= 1
        return wrong

    return fault


def unused_url() -> str:
    """Return the address of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def _read_head(connection: socket.socket, stopped: threading.Event) -> Call | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        if not data:
            return None
        head += data
    line, *rest = head.decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ")
    headers = dict(each.lower().split(": ", 1) for each in rest if each)
    return Call(method, path, headers, head, connection, stopped)
