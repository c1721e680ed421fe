"""The texts that tell an agent how to go about something, each under 1.5 KB."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from synapse_core.errors import NotFound, did_you_mean, nearest

_HERE = Path(__file__).parent


@cache
def topics() -> tuple[str, ...]:
    """Return the topics that there is a guide for, sorted."""
    return tuple(sorted(file.stem for file in _HERE.glob("*.md")))


@cache
def guide(topic: str) -> str:
    """Return the guide of one of `topics`."""
    return (_HERE / f"{topic}.md").read_text(encoding="utf-8")


def title_of(topic: str) -> str:
    """Return the heading of a guide."""
    return guide(topic).partition("\n")[0].removeprefix("# ")


def titles() -> dict[str, str]:
    """Return the headings of all guides by topic."""
    return {topic: title_of(topic) for topic in topics()}


def find_guide(topic: str) -> str:
    """Return a guide by what somebody has asked for. Raises NotFound with the nearest topics."""
    known = topics()
    asked = topic.strip().lower().replace("-", "_").replace(" ", "_")
    if asked in known:
        return guide(asked)
    raise NotFound(
        f"There is no guide {topic[:80]!r}.{did_you_mean(asked, known)}",
        {"asked": topic[:80], "nearest": nearest(asked, known) or known[:3], "topics": known},
        hint=f"The topics are {', '.join(known)}.",
    )
