"""A server for the wire tests: it prints in every way, is slow in every way, and marks each cleanup.

Usage: wire_server.py MARKS_FOLDER GRACE_SECONDS
"""

from synapse_mcp.wire import claim_wire, serve_stdio

wire = claim_wire()

print("printed at import")

import atexit  # noqa: E402
import hashlib  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import AsyncIterator  # noqa: E402
from contextlib import asynccontextmanager  # noqa: E402
from pathlib import Path  # noqa: E402

import anyio  # noqa: E402
from mcp.server import MCPServer  # noqa: E402
from mcp.server.mcpserver import Context  # noqa: E402

marks, grace_seconds = Path(sys.argv[1]), float(sys.argv[2])


@asynccontextmanager
async def lifespan(_: MCPServer) -> AsyncIterator[None]:
    yield
    await anyio.sleep(0.01)  # a cleanup that waits: it would not survive a cancelled scope
    (marks / "lifespan-exit").touch()


@atexit.register
def leave() -> None:
    print("printed at exit")
    print("printed at exit without newline", end="")
    (marks / "atexit").touch()


server = MCPServer("wire-tests", lifespan=lifespan)


@server.tool()
async def echo(text: str) -> str:
    return text


@server.tool()
async def repeat(text: str, times: int) -> str:
    return text * times


@server.tool()
async def half_a_character() -> str:
    return "\ud800"


@server.tool()
async def wait_for_ever() -> None:
    print("waiting for ever")
    await anyio.sleep_forever()


@server.tool()
async def report(ctx: Context, times: int) -> str:
    for number in range(times):
        await ctx.report_progress(number + 1, times)
    return "done"


@server.tool()
def sleep(seconds: float) -> None:
    print("sleeping")
    time.sleep(seconds)


@server.tool()
async def block_the_loop() -> None:
    print("blocking the loop")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)  # native code, in which no handler of a signal runs


@server.tool()
def print_in_every_way() -> str:
    """Return what a child reads on its standard input."""
    print("printed by print")
    print("printed without newline", end="")
    os.write(1, b"written to the descriptor\n")
    sys.stdout.buffer.write(b"written to the buffer\n")
    sys.__stdout__.write("written to the first stdout\n")
    sys.__stdout__.flush()
    os.write(1, b"\xff\x00\xfe binary\n")
    print("not text: \udcff")
    os.system("echo echoed by a shell")
    subprocess.run(["echo", "echoed by a child"], check=True)
    return subprocess.run(["cat"], check=True, stdout=subprocess.PIPE, text=True).stdout


serve_stdio(server, wire, grace_seconds)
