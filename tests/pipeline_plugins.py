"""Plugins for the tests of pipelines. `parts` and `others` call their package by the same name."""

from __future__ import annotations

from pathlib import Path

PARTS = '''
from __future__ import annotations

import os
import time
from pathlib import Path

from pydantic import BaseModel

from synapse_core import BaseAction
from synapse_core.types import Model, YOLODataset


class AddParams(BaseModel):
    total: int
    by: int = 1
    counter: str | None = None


class AddResult(BaseModel):
    total: int


class Add(BaseAction[AddParams]):
    """Add to the total, and leave a line in a file so that it is known how often this was done."""

    result_model = AddResult

    def execute(self) -> AddResult:
        if self.params.counter:
            with open(self.params.counter, "a") as file:
                file.write(f"{self.params.total}+{self.params.by}\\n")
        self.set_metrics({"total": self.params.total + self.params.by}, category="sum")
        return AddResult(total=self.params.total + self.params.by)


class FailParams(BaseModel):
    total: int = 0
    repaired: bool = False
    tries: str | None = None
    fails: int = 0


class Fail(BaseAction[FailParams]):
    """Fail until it is repaired, or has been tried often enough."""

    result_model = AddResult

    def execute(self) -> AddResult:
        if self.params.tries:
            with open(self.params.tries, "a") as file:
                file.write("x")
            if Path(self.params.tries).stat().st_size > self.params.fails:
                return AddResult(total=self.params.total)
        if not self.params.repaired:
            raise ValueError("not repaired yet")
        return AddResult(total=self.params.total)


class MeetParams(BaseModel):
    me: str
    other: str


class Meet(BaseAction[MeetParams]):
    """Wait in the shared folder for another action, which waits for this one."""

    def execute(self) -> dict[str, str]:
        shared = self.ctx.pipeline_dir
        assert os.environ["SYNAPSE_PIPELINE_DIR"] == str(shared)
        (shared / self.params.me).write_text(self.params.me)
        deadline = time.monotonic() + 60
        while not (shared / self.params.other).exists():
            assert time.monotonic() < deadline, "the other action did not come"
            time.sleep(0.01)
        return {self.params.me: "met"}


class SecondsParams(BaseModel):
    seconds: float = 60.0


class Sleep(BaseAction[SecondsParams]):
    def execute(self) -> None:
        self.set_progress(1, 2, category="sleep")
        time.sleep(self.params.seconds)


class FileParams(BaseModel):
    pass


class FileResult(BaseModel):
    path: str


class Make(BaseAction[FileParams]):
    """Print, log, report, and leave an artifact."""

    output_type = YOLODataset
    result_model = FileResult

    def execute(self) -> FileResult:
        print("printed by make")
        self.log_message("logged by make", "warning")
        self.set_progress(1, 4, category="making")
        file = self.ctx.artifacts_dir / "made.txt"
        file.write_text("made")
        return FileResult(path=str(file))


class TakeModel(BaseAction[FileParams]):
    input_type = Model

    def execute(self) -> None:
        return None


class ReadParams(BaseModel):
    path: str


class Read(BaseAction[ReadParams]):
    def execute(self) -> dict[str, str]:
        return {"text": Path(self.params.path).read_text()}


class Open(BaseAction[FileParams]):
    """Returns whatever it likes."""

    def execute(self) -> dict[str, str]:
        return {"path": __file__}
'''

CONFIG = """\
name: Parts
code: parts
actions:
  add: {entrypoint: "package.things:Add", method: local}
  fail: {entrypoint: "package.things:Fail", method: local}
  meet: {entrypoint: "package.things:Meet", method: local}
  sleep: {entrypoint: "package.things:Sleep", method: local}
  make: {entrypoint: "package.things:Make", method: local}
  take_model: {entrypoint: "package.things:TakeModel", method: local}
  read: {entrypoint: "package.things:Read", method: local}
  open: {entrypoint: "package.things:Open", method: local}
"""

OTHERS = """
from pydantic import BaseModel

from synapse_core import BaseAction


class P(BaseModel):
    total: int


class Double(BaseAction[P]):
    def execute(self) -> dict[str, int]:
        return {"total": self.params.total * 2}
"""


def write_plugins(folder: Path) -> Path:
    """Write both plugins into a folder and return it."""
    for code, config, source in (
        ("parts", CONFIG, PARTS),
        (
            "others",
            "name: Others\ncode: others\nactions:\n"
            "  double: {entrypoint: 'package.things:Double', method: local}\n",
            OTHERS,
        ),
    ):
        package = folder / code / "package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "things.py").write_text(source)
        (folder / code / "config.yaml").write_text(config)
    return folder
