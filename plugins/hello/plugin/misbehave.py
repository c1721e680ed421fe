"""An action that goes wrong on request, in each way that a plugin in the field has gone wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from synapse_core import BaseAction
from synapse_core.steps import BaseStep, BaseStepContext, StepRegistry, StepResult


class Way(StrEnum):
    """How to go wrong."""

    FAIL = "fail"
    EXIT = "exit"
    OS_EXIT = "os_exit"
    CRASH = "crash"
    OUT_OF_MEMORY = "out_of_memory"
    EAT_MEMORY = "eat_memory"
    LOOP = "loop"
    SLEEP = "sleep"
    IGNORE_STOP = "ignore_stop"
    READ_STDIN = "read_stdin"
    BAD_RESULT = "bad_result"
    HUGE_RESULT = "huge_result"
    MISSING_PACKAGE = "missing_package"
    PRINT = "print"
    FLOOD_EVENTS = "flood_events"
    SILENT = "silent"
    ARTIFACT = "artifact"


class MisbehaveParams(BaseModel):
    """How to go wrong, and how much."""

    way: Way = Field(description="How to go wrong")
    amount: int = Field(default=1, ge=1, le=20_000_000_000, description="Bytes to write or events to emit")
    seconds: float = Field(default=60.0, ge=0, le=3600, description="How long to hang")
    marker: str | None = Field(
        default=None, description="A folder in which rollbacks and children leave files"
    )


@dataclass
class MisbehaveContext(BaseStepContext):
    params: MisbehaveParams | None = None
    result: Any = None


class PrepareStep(BaseStep[MisbehaveContext]):
    """Leaves a file that its rollback takes away again."""

    name = "prepare"
    progress_weight = 0.2

    def execute(self, context: MisbehaveContext) -> StepResult:
        _mark(context, "prepared", os.getpid())
        return StepResult()

    def rollback(self, context: MisbehaveContext, result: StepResult) -> None:
        if context.params.marker:
            (Path(context.params.marker) / "prepared").unlink()
            _mark(context, "rolled_back", os.getpid())


class MisbehaveStep(BaseStep[MisbehaveContext]):
    """Goes wrong."""

    name = "misbehave"
    progress_weight = 0.8

    def execute(self, context: MisbehaveContext) -> StepResult:
        context.set_progress(1, 2)
        context.result = _WAYS[context.params.way](context)
        return StepResult()


class MisbehaveAction(BaseAction[MisbehaveParams]):
    """Prepare, then go wrong in the way that was asked for."""

    def setup_steps(self, registry: StepRegistry[MisbehaveContext]) -> None:
        registry.register(PrepareStep())
        registry.register(MisbehaveStep())

    def create_context(self) -> MisbehaveContext:
        return MisbehaveContext(runtime_ctx=self.ctx, params=self.params)

    def get_result(self, context: MisbehaveContext, summary: dict[str, Any]) -> Any:
        return context.result


def _mark(context: MisbehaveContext, name: str, pid: int) -> None:
    """Leave a file, where one is wanted, that is never seen half written."""
    if context.params.marker:
        path = Path(context.params.marker, name)
        draft = path.with_suffix(".draft")
        draft.write_text(str(pid))
        draft.replace(path)


def _fail(context: MisbehaveContext) -> None:
    raise ValueError("asked to fail")


def _exit(context: MisbehaveContext) -> None:
    sys.exit(3)


def _os_exit(context: MisbehaveContext) -> None:
    os._exit(7)


def _crash(context: MisbehaveContext) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def _out_of_memory(context: MisbehaveContext) -> None:
    bytearray(1 << 62)


def _eat_memory(context: MisbehaveContext) -> int:
    """Take `amount` bytes bit by bit, and really use them."""
    eaten = []
    for _ in range(context.params.amount >> 24):
        eaten.append(bytearray(os.urandom(1)) * (1 << 24))
        time.sleep(0.005)
    return len(eaten)


def _loop(context: MisbehaveContext) -> None:
    end = time.monotonic() + context.params.seconds
    while time.monotonic() < end:
        pass


def _sleep(context: MisbehaveContext) -> None:
    time.sleep(context.params.seconds)


def _ignore_stop(context: MisbehaveContext) -> None:
    """Swallow every attempt to stop, and leave a child that does the same."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    child = subprocess.Popen([sys.executable, "-c", script])
    _mark(context, "child", child.pid)
    end = time.monotonic() + context.params.seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.05)
        except BaseException:  # noqa: BLE001  # this is the misbehaviour
            continue


def _read_stdin(context: MisbehaveContext) -> str:
    return input()


def _bad_result(context: MisbehaveContext) -> dict[str, Any]:
    return {"fine": 1, "models": [object()]}


def _huge_result(context: MisbehaveContext) -> str:
    return "x" * max(context.params.amount, 2_000_000)


def _missing_package(context: MisbehaveContext) -> None:
    import a_package_that_nobody_has  # noqa: F401


def _print(context: MisbehaveContext) -> int:
    """Print `amount` bytes in every way there is; the last line has no end."""
    print("printed by print")
    sys.stdout.buffer.write(b"binary \x00\xff\xfe\n")
    sys.stdout.flush()
    os.write(1, b"written to descriptor 1\n")
    os.write(2, b"written to descriptor 2\n")
    subprocess.run(["echo", "printed by a child"], check=True)
    line = b"0123456789abcdef" * 64 + b"\n"
    for _ in range(context.params.amount // len(line)):
        os.write(1, line)
    print("no end of line", end="")
    return context.params.amount


def _flood_events(context: MisbehaveContext) -> int:
    for number in range(context.params.amount):
        context.log("flood", {"number": number})
        context.set_progress(number, context.params.amount)
    return context.params.amount


def _silent(context: MisbehaveContext) -> None:
    return None


def _artifact(context: MisbehaveContext) -> int:
    """Leave a file of `amount` bytes, which is no misbehaviour unless it is large."""
    print("writing a file")
    with open("data.bin", "wb") as file:
        file.truncate(context.params.amount)
    return context.params.amount


_WAYS = {
    Way.FAIL: _fail,
    Way.EXIT: _exit,
    Way.OS_EXIT: _os_exit,
    Way.CRASH: _crash,
    Way.OUT_OF_MEMORY: _out_of_memory,
    Way.EAT_MEMORY: _eat_memory,
    Way.LOOP: _loop,
    Way.SLEEP: _sleep,
    Way.IGNORE_STOP: _ignore_stop,
    Way.READ_STDIN: _read_stdin,
    Way.BAD_RESULT: _bad_result,
    Way.HUGE_RESULT: _huge_result,
    Way.MISSING_PACKAGE: _missing_package,
    Way.PRINT: _print,
    Way.FLOOD_EVENTS: _flood_events,
    Way.SILENT: _silent,
    Way.ARTIFACT: _artifact,
}
