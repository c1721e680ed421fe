"""Links from answers to resources: where a client can read on, without another tool call."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

from mcp.types import CallToolResult, ResourceLink

# An answer about many things links to so many of them.
MOST_LINKS = 3
# The first version of the protocol that knows links in answers.
_SINCE = "2025-06-18"


@runtime_checkable
class Linked(Protocol):
    """A record that knows which resources tell more of what it is about."""

    def links(self) -> list[ResourceLink]: ...


def link(kind: str, name: str = "", part: str = "", mime_type: str = "application/json") -> ResourceLink:
    """Return the link to `synapse://KIND`, `synapse://KIND/NAME`, or to a part of it."""
    path = "/".join(piece for piece in (kind, quote(name, safe="@"), part) if piece)
    return ResourceLink(uri=f"synapse://{path}", name=f"{name or kind} {part}".strip(), mime_type=mime_type)


def links_of(record: Any) -> list[ResourceLink]:
    """Return the links of a record, none where it knows none."""
    return record.links() if isinstance(record, Linked) else []


def has_links(result: CallToolResult) -> bool:
    """Tell whether an answer links to resources."""
    return any(isinstance(part, ResourceLink) for part in result.content)


def without_links(result: CallToolResult, protocol_version: str | None) -> CallToolResult:
    """Return an answer as a client of this version can read it: older ones know no links."""
    if protocol_version is None or protocol_version >= _SINCE:
        return result
    content = [part for part in result.content if not isinstance(part, ResourceLink)]
    return result.model_copy(update={"content": content})
