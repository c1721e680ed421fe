"""Actions that measure how their own events fare."""

from __future__ import annotations

import os
import random
import time
from typing import Literal

from pydantic import BaseModel, Field

from synapse_core import BaseAction


class TickParams(BaseModel):
    count: int = Field(default=20, ge=1, description="How many messages")
    every_seconds: float = Field(default=0.16, gt=0, description="The time between two of them")


class TickAction(BaseAction[TickParams]):
    """Tell the time of each message's emission in the message itself."""

    def execute(self) -> None:
        for _ in range(self.params.count):
            # Not in step with whoever looks at regular intervals.
            time.sleep(self.params.every_seconds * random.uniform(0.8, 1.2))
            self.log_message(f"emitted {time.time():.6f}")


class FloodParams(BaseModel):
    kind: Literal["progress", "log"] = Field(description="Which events to emit")
    pairs: int = Field(default=45, ge=1)
    events: int = Field(default=2_000, ge=1, description="How many events a pair")


class FloodResult(BaseModel):
    """Seconds of each pair: for the events, and for the bare writes of the same lines."""

    events: list[float]
    writes: list[float]


class FloodAction(BaseAction[FloodParams]):
    """Emit events and write their very bytes once more with bare system calls, in turns."""

    result_model = FloodResult

    def execute(self) -> FloodResult:
        result = FloodResult(events=[], writes=[])
        recorded = self.ctx.run_folder / "events.jsonl"
        for _ in range(self.params.pairs):
            before = recorded.stat().st_size
            result.events.append(self._emit())
            with open(recorded, "rb") as file:
                file.seek(before)
                result.writes.append(self._write(file.readlines()))
        return result

    def _emit(self) -> float:
        total = self.params.events
        begun = time.perf_counter()
        if self.params.kind == "log":
            for number in range(total):
                self.log("flood", {"number": number})
        else:
            for number in range(total):
                self.set_progress(number, total)
        return time.perf_counter() - begun

    def _write(self, lines: list[bytes]) -> float:
        path = self.ctx.run_folder / "bare.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        begun = time.perf_counter()
        for line in lines:
            os.write(file, line)
        took = time.perf_counter() - begun
        os.close(file)
        path.unlink()
        return took
