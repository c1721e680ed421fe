"""The documents that promise the public API: where they are, their blocks, and how one is run here."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "seeds"
SEEDS = Path(os.environ.get("SYNAPSE_TEST_SEEDS", _BESIDE))

# What was promised under another name, the narrower first.
_MODULES = (
    ("synapse_sdk.plugins.steps.utils", "synapse_core.steps"),
    ("synapse_sdk.utils.converters", "synapse_core.datasets"),
    ("synapse_sdk.loggers", "synapse_core.loggers"),
    ("synapse_sdk.plugins", "synapse_core"),
)
# `class Name[C: Bound](ABC)` needs Python 3.12.
_GENERIC = re.compile(r"^class (\w+)\[(\w+): (\w+)\]\((\w+)\):", re.M)
_AS_GENERIC = r"""from typing import Generic, TypeVar
\2 = TypeVar("\2", bound=\3)
class \1(\4, Generic[\2]):"""


@dataclass(frozen=True)
class Block:
    """One block of code. text: as it stands in its document, but for what a case had to fill in."""

    document: str
    number: int
    text: str

    @property
    def source(self) -> str:
        """The block in this package's names."""
        source = self.text
        for promised, ours in _MODULES:
            source = source.replace(promised, ours)
        if sys.version_info < (3, 12):
            source = _GENERIC.sub(_AS_GENERIC, source)
        return source

    def filled(self, written: str, wanted: str) -> Block:
        """Return the block with a place that stands for something else, a path or an address, filled in."""
        assert written in self.text, f"{self.document} {self.number} has no {written!r} any more"
        return replace(self, text=self.text.replace(written, wanted))

    def after(self, text: str) -> Block:
        """Return the block with what it leaves out before it."""
        return replace(self, text=f"{textwrap.dedent(text)}\n{self.text}")

    def run(self, **names: Any) -> SimpleNamespace:
        """Run the block with these names around it, and return all names that there are then."""
        space: dict[str, Any] = {"__name__": "seed_block", **names}
        # The future import of this file must not change what annotations are in the block.
        code = compile(self.source, f"<{self.document} {self.number}>", "exec", dont_inherit=True)
        exec(code, space)
        return SimpleNamespace(**space)

    def function(self, *parameters: str, **names: Any) -> Callable[..., Any]:
        """Return the block, which is a part of a function, as a function of these parameters."""
        body = textwrap.indent(self.text, "    ")
        whole = replace(self, text=f"def fragment({', '.join(parameters)}):\n{body}")
        found: Callable[..., Any] = whole.run(**names).fragment
        return found


def blocks(document: str, language: str = "python") -> list[Block]:
    """Return the blocks of a document in their order."""
    text = (SEEDS / f"{document}.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return [Block(document, number, one) for number, one in enumerate(found, start=1)]


def block(document: str, number: int) -> Block:
    return blocks(document)[number - 1]
