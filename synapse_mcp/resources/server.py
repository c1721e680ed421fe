"""Resources about the server itself: its status, its guides, the formats, the schemas of its answers."""

from __future__ import annotations

from typing import Any

from synapse_core.errors import NotFound
from synapse_core.home import Home
from synapse_mcp.answer_schemas import answer_schemas
from synapse_mcp.guides import find_guide, titles
from synapse_mcp.settings import Settings
from synapse_mcp.skills import REFERENCES, find_skill
from synapse_mcp.tools import TOOLS
from synapse_mcp.tools.status import Status, status_of


def status(home: Home, settings: Settings) -> Status:
    """What works here, and each problem with its fix."""
    return status_of(home, settings)


def guides(home: Home, settings: Settings) -> dict[str, Any]:
    """The guides: how to go about something, step by step."""
    told = [
        {"topic": topic, "title": title, "uri": f"synapse://guides/{topic}"}
        for topic, title in titles().items()
    ]
    return {"guides": told}


def guide_of(home: Home, settings: Settings, topic: str) -> str:
    """One guide."""
    return find_guide(topic)


def formats(home: Home, settings: Settings) -> list[dict[str, Any]]:
    """The dataset formats: what each can hold, and whether it is written."""
    from synapse_core.datasets.formats import formats as known  # with the modules of all formats

    return [entry.card() for entry in known()]


def schemas(home: Home, settings: Settings) -> dict[str, Any]:
    """The JSON schemas of what the tools answer, and of an error."""
    return answer_schemas(TOOLS)


def skill(home: Home, settings: Settings, skill: str) -> str:
    """A guide as a skill, with what it is for."""
    return find_skill(skill).files["SKILL.md"]


def skill_file(home: Home, settings: Settings, skill: str, file: str) -> str:
    """A file that belongs to a skill."""
    files = find_skill(skill).files
    path = f"{REFERENCES}/{file}"
    if path not in files:
        raise NotFound(f"The skill {skill!r} has no file {file[:80]!r}.", {"nearest": list(files)})
    return files[path]
