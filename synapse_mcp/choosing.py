"""Which tools a server has: the switches' choice of the tool table, and what each needs of a token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from synapse_core.errors import InvalidRequest, nearest
from synapse_mcp.boundary import ToolSpec
from synapse_mcp.settings import Settings


def chosen_tools(settings: Settings, table: Sequence[ToolSpec]) -> list[ToolSpec]:
    """Return the tools that this server shows, in the order of the table.

    Raises InvalidRequest for a tool that is named and not there, with the nearest; where nothing is left.
    """
    known = [spec.name for spec in table]
    _check("--tools", settings.tools, known)
    _check("--exclude-tools", settings.exclude_tools, known)
    chosen = [
        spec
        for spec in table
        if (spec.name in settings.tools if settings.tools else spec.toolset in settings.toolsets)
        and spec.name not in settings.exclude_tools
        and (spec.reads_only or not settings.read_only)
    ]
    if not chosen:
        raise InvalidRequest(
            "The switches leave no tool to show.",
            hint=f"Given are {', '.join(settings.active) or 'none'}; get_status and list_plugins only read.",
        )
    return chosen


def _check(option: str, named: Iterable[str], known: Sequence[str]) -> None:
    if unknown := [name for name in named if name not in known]:
        near = nearest(unknown[0], known) or known[:3]
        raise InvalidRequest(
            f"{option}: there is no tool {unknown[0]!r}.", hint=f"The nearest are {', '.join(near)}."
        )
