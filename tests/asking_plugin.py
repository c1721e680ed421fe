"""A plugin whose actions ask the user while they run."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from synapse_core import BaseAction


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


class Choice(BaseModel):
    count: int = Field(ge=1, le=9, description="How many")
    colour: Colour = Colour.RED
    speed: Literal["slow", "fast"] = "slow"
    ratio: float | None = None
    sure: bool = True
    name: str = Field("", max_length=20)

    @field_validator("count")
    @classmethod
    def odd(cls, count: int) -> int:
        if count % 2 == 0:
            raise ValueError("it has to be odd")
        return count


class Name(BaseModel):
    name: str


class Params(BaseModel):
    message: str = "Which ones?"


class Ask(BaseAction[Params]):
    """Ask once, and tell what came."""

    def execute(self) -> dict:
        said = self.elicit(self.params.message, Choice)
        data = None if said.data is None else said.data.model_dump(mode="json")
        return {"said": said.action, "data": data}


class Both(BaseAction[Params]):
    """Ask two questions at the same time."""

    def execute(self) -> dict:
        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(self.ctx.elicit, text, Name) for text in ("First?", "Second?")]
            return {"names": sorted(each.result().data.name for each in asked)}
'''
CONFIG = """
name: Asking
code: asking
version: 1.0.0
actions:
  ask: {entrypoint: 'asking_code:Ask', method: local}
  both: {entrypoint: 'asking_code:Both', method: local}
"""


def write_asking(folder: Path) -> Path:
    """Write the plugin `asking` into a folder of plugins, and return that."""
    root = folder / "asking"
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG)
    (root / "asking_code.py").write_text(SOURCE)
    return folder
