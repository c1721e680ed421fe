"""Real servers for the storages, on the loopback interface and on ports that the system chooses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh

USERNAME, PASSWORD = "worker", "correct horse battery"


@dataclass
class Web:
    """What a web server keeps and was asked.

    The first part of a path says how it behaves: `plain`, `post` (PUT is not allowed), `elsewhere` and
    `inside` (redirects), `hangs`, `broken` (500), `shut` (403), `cuts` (sends and keeps half), `undeleting`.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    elsewhere: str = ""
    go_on: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def web_server() -> Iterator[Web]:
    web = Web()

    class Handler(_Handler):
        world = web

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        web.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


_MOVED = {"old": "new/it", "out": "../plain/it", "hidden": "%2e%2e/plain/it", "round": "round"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Web

    def do_PUT(self) -> None:
        self._take("PUT")

    def do_POST(self) -> None:
        self._take("POST")

    def do_GET(self) -> None:
        self._give("GET")

    def do_HEAD(self) -> None:
        self._give("HEAD")

    def do_DELETE(self) -> None:
        if not self._behaves("DELETE"):
            return
        if self._way == "undeleting":
            self._answer(405)
        elif self.world.files.pop(self.path, None) is None:
            self._answer(404)
        else:
            self._answer(204)

    @property
    def _way(self) -> str:
        return self.path.split("/")[1]

    def _take(self, method: str) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._behaves(method):
            return
        if self._way == "post" and method == "PUT":
            self._answer(405)
            return
        self.world.files[self.path] = content[: len(content) // 2] if self._way == "cuts" else content
        self._answer(201)

    def _give(self, method: str) -> None:
        if not self._behaves(method):
            return
        content = self.world.files.get(self.path)
        if content is None:
            self._answer(404)
        elif self._way == "cuts" and method == "GET":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) * 2))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True
        else:
            self._answer(200, content, is_head=method == "HEAD")

    def _behaves(self, method: str) -> bool:
        """Note the request; answer and return False where the path says that it is not served."""
        self.world.asked.append((method, self.path, dict(self.headers)))
        _, way, *rest = self.path.split("/")
        if way == "broken":
            self._answer(500)
        elif way == "shut":
            self._answer(403)
        elif way == "hangs":
            self.world.go_on.wait()
            self.close_connection = True
        elif way == "elsewhere":
            self._answer(307, location=f"{self.world.elsewhere}plain/{'/'.join(rest)}")
        elif way == "inside":
            if rest[0] == "new":
                return True
            moved = {"old": "new/it", "out": "../plain/it", "hidden": "%2e%2e/plain/it", "round": "round"}[
                rest[0]
            ]
            self._answer(302, location=f"/inside/{moved}")
        else:
            return True
        return False

    def _answer(self, status: int, content: bytes = b"", is_head: bool = False, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def token_server() -> Iterator[str]:
    """Give the URL of a server that hands out access tokens to whoever asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = json.dumps(
                {"access_token": "let-me-in", "expires_in": 3600, "token_type": "Bearer"}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Sftp:
    """An SFTP server. root: what its users see as /. key: a private key that it lets in, as text."""

    root: Path
    port: int = 0
    host_key: str = ""
    key: str = ""
    locked_key: str = ""


PASSPHRASE = "open sesame"


@contextmanager
def sftp_server(root: Path) -> Iterator[Sftp]:
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    world = Sftp(
        root,
        host_key=host_key.export_public_key().decode(),
        key=user_key.export_private_key().decode(),
        locked_key=user_key.export_private_key(
            passphrase=PASSPHRASE, rounds=16, ignore_few_rounds=True
        ).decode(),
    )

    class Door(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USERNAME, PASSWORD)

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: Any) -> bool:
            return username == USERNAME and key == user_key.convert_to_public()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            Door,
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )

    async def stop(server: asyncssh.SSHAcceptor) -> None:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=5) if others else None

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    world.port = server.get_port()
    try:
        yield world
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
