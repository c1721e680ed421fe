"""The texts that tell an agent how to go about something, each under 1.5 KB."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def topics() -> list[str]:
    """Return the topics that there is a guide for, sorted."""
    return sorted(file.stem for file in _HERE.glob("*.md"))


def guide(topic: str) -> str:
    """Return the guide of one of `topics`."""
    return (_HERE / f"{topic}.md").read_text(encoding="utf-8")
