"""The guides as skills, for hosts that load instructions when they need them.

A skill is a guide with a line that says when to use it, and the files it refers to. Their texts are read as
resources; here is which there are, with their digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.types import INVALID_PARAMS, PaginatedRequestParams, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from synapse_core.errors import NotFound, did_you_mean, nearest
from synapse_mcp.guides import guide

REFERENCES = "references"
_SKILL_FILE = "SKILL.md"
_SCHEME = "skill://"
_DIRECTORY = "inode/directory"
_TTL_MS = 3_600_000

# Name -> when to use it. The guide of the same name, with underscores, is its text.
SKILLS: dict[str, str] = {
    "convert-dataset": "Convert an annotated dataset into another format, and tell exactly what is lost.",
    "create-plugin": "Write a new Synapse plugin, test it and run it.",
    "debug-run": "Find out why a Synapse run failed, hangs or was lost.",
    "train-and-deploy": "Train a model with a Synapse plugin, register it, deploy it and try it.",
    "annotate-tasks": "Put annotations on tasks of a project with a Synapse plugin.",
    "publish-plugin": "Publish a Synapse plugin into the backend.",
    "setup": "Find out what works in a Synapse installation, and repair what does not.",
}


class UriParams(RequestParams):
    """What is asked about."""

    uri: str
    cursor: str | None = None


@dataclass(frozen=True)
class Skill:
    """One skill. files: their texts, by their paths inside it."""

    name: str
    files: dict[str, str]

    @property
    def uri(self) -> str:
        return f"{_SCHEME}{self.name}/{_SKILL_FILE}"

    @property
    def frontmatter(self) -> dict[str, str]:
        return {"name": self.name, "description": SKILLS[self.name]}

    def entry(self) -> dict[str, Any]:
        """Return the skill as clients are told of it."""
        resources = [
            {
                "uri": f"{_SCHEME}{self.name}/{path}",
                "digest": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
                "size": len(text.encode()),
            }
            for path, text in sorted(self.files.items())
        ]
        return {"uri": self.uri, "frontmatter": self.frontmatter, "resources": resources}


def find_skill(name: str) -> Skill:
    """Return a skill. Raises NotFound with the nearest names."""
    if name not in SKILLS:
        near = nearest(name, SKILLS) or list(SKILLS)[:3]
        raise NotFound(f"There is no skill {name[:80]!r}.{did_you_mean(name, SKILLS)}", {"nearest": near})
    head = f"---\nname: {name}\ndescription: {json.dumps(SKILLS[name])}\n---\n\n"
    files = {_SKILL_FILE: head + guide(name.replace("-", "_"))}
    if name == "convert-dataset":
        files |= {f"{REFERENCES}/formats.md": _formats(), f"{REFERENCES}/losses.md": _losses()}
    return Skill(name, files)


class Skills(Extension):
    """Tells which skills there are. Their texts are resources, which `resources` serves."""

    identifier = "io.modelcontextprotocol/skills"

    def settings(self) -> dict[str, Any]:
        """Return what clients are told: folders can be listed."""
        return {"directoryRead": True}

    def methods(self) -> list[MethodBinding]:
        """Return the requests of the extension, which is of the modern era only."""
        era = frozenset(MODERN_PROTOCOL_VERSIONS)
        return [
            MethodBinding("skills/list", PaginatedRequestParams, self._list, era),
            MethodBinding("skills/get", UriParams, self._get, era),
            MethodBinding("resources/directory/read", UriParams, self._directory, era),
        ]

    async def _list(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams
    ) -> dict[str, Any]:
        if params.cursor is not None:
            raise MCPError(INVALID_PARAMS, "All skills are on one page: there is no cursor.")
        return _cached({"skills": [skill.entry() for skill in await to_thread.run_sync(_all)]})

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: UriParams) -> dict[str, Any]:
        for skill in await to_thread.run_sync(_all):
            if skill.uri == params.uri:
                return _cached({"skill": skill.entry()})
        raise _unknown(params.uri, "skill")

    async def _directory(self, ctx: ServerRequestContext[Any, Any], params: UriParams) -> dict[str, Any]:
        for skill in await to_thread.run_sync(_all):
            inside = dict(_folders(skill)).get(params.uri.rstrip("/"))
            if inside is not None:
                return _cached({"resources": inside})
        raise _unknown(params.uri, "folder")


def _all() -> list[Skill]:
    return [find_skill(name) for name in SKILLS]


def _folders(skill: Skill) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield (URI, what lies in it) for a skill's folder and the one inside it."""
    root = f"{_SCHEME}{skill.name}"
    inner = [path for path in sorted(skill.files) if "/" in path]
    top = [_file(root, path) for path in sorted(skill.files) if "/" not in path]
    if inner:
        top.append({"uri": f"{root}/{REFERENCES}", "name": REFERENCES, "mimeType": _DIRECTORY})
        yield f"{root}/{REFERENCES}", [_file(root, path) for path in inner]
    yield root, top


def _file(root: str, path: str) -> dict[str, str]:
    return {"uri": f"{root}/{path}", "name": path.rpartition("/")[2], "mimeType": "text/markdown"}


def _formats() -> str:
    """Return the dataset formats as a table."""
    from synapse_core.datasets.formats import formats  # with the modules of all formats

    lines = ["# Dataset formats", "", "| format | is written |", "|---|---|"]
    lines += [f"| {known.name} | {'yes' if known.write else 'no'} |" for known in formats()]
    return "\n".join([*lines, "", "What each can hold: the resource `synapse://formats`.", ""])


def _losses() -> str:
    """Return the reasons that a report of losses can name."""
    from synapse_core.datasets.report import CODES  # with the datasets, which most starts do not need

    lines = [f"- `{code}`: {says}" for code, says in CODES.items()]
    return "\n".join(["# Reasons in a report of losses", "", *lines, ""])


def _cached(result: dict[str, Any]) -> dict[str, Any]:
    return {"resultType": "complete", "ttlMs": _TTL_MS, "cacheScope": "public", **result}


def _unknown(uri: str, what: str) -> MCPError:
    known = [f"{_SCHEME}{name}/{_SKILL_FILE}" for name in SKILLS]
    near = nearest(uri, known) or known[:3]
    return MCPError(
        INVALID_PARAMS, f"There is no {what} at {uri[:200]}.", {"uri": uri[:200], "nearest": near}
    )
