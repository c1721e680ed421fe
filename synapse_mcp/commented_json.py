"""JSON files of people, comments and trailing commas included: one member is put in or taken out, all other
bytes stay as they are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

_GAP = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_INDENTED = re.compile(r"^([ \t]+)\S", re.MULTILINE)
_DEEPEST = 200


class NotJson(ValueError):
    """A text is no JSON, comments and trailing commas allowed. It says where."""


@dataclass(frozen=True)
class Node:
    """A value of a document. start, end: its place. commas: where each member's comma is, -1 without one."""

    start: int
    end: int
    value: Any
    members: list[Member] = field(default_factory=list)


@dataclass(frozen=True)
class Member:
    name: str
    start: int
    node: Node
    comma: int


@dataclass(frozen=True)
class Document:
    """A text as it was read. is_strict: it is plain JSON too, which every program reads."""

    text: str
    root: Node
    is_strict: bool

    @property
    def value(self) -> Any:
        return self.root.value


def read_document(text: str) -> Document:
    """Return the document of a text; that of `{}` for one without anything in it.

    Raises NotJson with the line.
    """
    if not text.strip("\ufeff \t\r\n"):
        return Document("{}\n", Node(0, 2, {}), True)
    reader = _Reader(text)
    start = reader.gap(1 if text.startswith("\ufeff") else 0)
    root = reader.value(start, 0)
    if (end := reader.gap(root.end)) != len(text):
        reader.complain(end, "there is more after the end")
    try:
        json.loads(text.removeprefix("\ufeff"))
        is_strict = True
    except ValueError:
        is_strict = False
    return Document(text, root, is_strict)


def with_member(document: Document, path: tuple[str, ...], value: Any) -> str:
    """Return the text with `value` at `path`, in place of what is there. Objects on the way are made.

    Raises NotJson where something on the way is no object, or is there twice.
    """
    node = document.root
    for depth, name in enumerate(path):
        found = _member(document, node, name)
        if found is None:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            return _inserted(document, node, name, value)
        node = found.node
    indent = _indent_of_line(document.text, node.start)
    return document.text[: node.start] + _written(document, value, indent) + document.text[node.end :]


def without_member(document: Document, path: tuple[str, ...]) -> str:
    """Return the text without what is at `path`, as it is where there is nothing."""
    node = document.root
    for name in path[:-1]:
        step = _member(document, node, name)
        if step is None:
            return document.text
        node = step.node
    found = _member(document, node, path[-1])
    if found is None:
        return document.text
    text, index = document.text, node.members.index(found)
    # Its line goes with it, where nothing else stands there.
    start = found.start
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    if start > 0 and text[start - 1] == "\n":
        start -= 2 if text[start - 2 : start] == "\r\n" else 1
    else:
        start = found.start
    rest = text[found.node.end :]
    if found.comma >= 0:
        return text[:start] + text[found.comma + 1 :]
    if index and (comma := node.members[index - 1].comma) >= 0:
        if not text[comma + 1 : start].strip(" "):
            start = comma + 1
        # The last one: the comma before it would be one too many.
        return text[:comma] + text[comma + 1 : start] + rest
    if len(node.members) == 1 and not text[node.start + 1 : start].strip():
        close = node.end - 1 - found.node.end
        return text[: node.start + 1] + (rest if rest[:close].strip() else rest[close:])
    return text[:start] + rest


def _member(document: Document, node: Node, name: str) -> Member | None:
    if not isinstance(node.value, dict):
        raise NotJson(f"line {_line(document.text, node.start)}: here should be an object with {name!r}")
    found = [member for member in node.members if member.name == name]
    if len(found) > 1:
        raise NotJson(f"line {_line(document.text, found[1].start)}: {name!r} is there twice")
    return found[0] if found else None


def _inserted(document: Document, node: Node, name: str, value: Any) -> str:
    text, close = document.text, node.end - 1
    unit = _unit(text)
    outer = _indent_of_line(text, node.start)
    if not node.members:
        inner = outer + unit
        entry = f"{json.dumps(name)}: {_written(document, value, inner)}"
        kept = text[node.start + 1 : close].rstrip()
        return f"{text[: node.start + 1]}{kept}{_eol(text)}{inner}{entry}{_eol(text)}{outer}{text[close:]}"
    first, last = node.members[0], node.members[-1]
    if "\n" not in text[node.start : node.end]:
        comma = "" if last.comma >= 0 else ","
        entry = f"{comma} {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        place = len(text[:close].rstrip())
        return text[:place] + entry + text[place:]
    inner = _indent_of_line(text, first.start)
    entry = f"{_eol(text)}{inner}{json.dumps(name)}: {_written(document, value, inner)}"
    # After the comments that belong to the last member; its comma stands before them.
    place = len(text[:close].rstrip())
    tail = text[place:close]
    if "\n" not in tail:
        tail = f"{_eol(text)}{outer}"
    if last.comma >= 0:
        return f"{text[:place]}{entry},{tail}{text[close:]}"
    return f"{text[: last.node.end]},{text[last.node.end : place]}{entry}{tail}{text[close:]}"


def _written(document: Document, value: Any, indent: str) -> str:
    """Return a value as JSON whose second line and the ones after it are indented."""
    written = json.dumps(value, indent=_unit(document.text), ensure_ascii=False)
    return written.replace("\n", _eol(document.text) + indent)


def _unit(text: str) -> str:
    """Return what one level is indented by in a text."""
    found = _INDENTED.search(text)
    return found[1] if found else "  "


def _eol(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_of_line(text: str, place: int) -> str:
    begin = text.rfind("\n", 0, place) + 1
    line = text[begin:place]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


class _Reader:
    """Reads values, and remembers where each one stands."""

    def __init__(self, text: str) -> None:
        self._text = text

    def gap(self, place: int) -> int:
        """Return the next place that is neither white nor a comment."""
        found = _GAP.match(self._text, place)
        return found.end() if found else place

    def value(self, place: int, depth: int) -> Node:
        if depth > _DEEPEST:
            self.complain(place, "this is nested too deeply")
        sign = self._text[place : place + 1]
        if sign == "{":
            return self._object(place, depth)
        if sign == "[":
            return self._array(place, depth)
        if found := (_STRING if sign == '"' else _SCALAR).match(self._text, place):
            return Node(place, found.end(), self._decoded(place, found[0]))
        return self.complain(place, "a value should stand here")

    def complain(self, place: int, what: str) -> NoReturn:
        raise NotJson(f"line {_line(self._text, place)}: {what}")

    def _decoded(self, place: int, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            self.complain(place, "this text is not JSON")

    def _object(self, start: int, depth: int) -> Node:
        members: list[Member] = []
        place = self.gap(start + 1)
        while not self._text.startswith("}", place):
            if members and members[-1].comma < 0:
                self.complain(place, "a comma or } should stand here")
            found = _STRING.match(self._text, place)
            if found is None:
                self.complain(place, "a name in double quotes should stand here")
            colon = self.gap(found.end())
            if not self._text.startswith(":", colon):
                self.complain(colon, "a colon should stand here")
            node = self.value(self.gap(colon + 1), depth + 1)
            after = self.gap(node.end)
            comma = after if self._text.startswith(",", after) else -1
            members.append(Member(self._decoded(place, found[0]), place, node, comma))
            place = after if comma < 0 else self.gap(comma + 1)
        return Node(start, place + 1, {member.name: member.node.value for member in members}, members)

    def _array(self, start: int, depth: int) -> Node:
        values: list[Any] = []
        place, is_open = self.gap(start + 1), True
        while not self._text.startswith("]", place):
            if not is_open:
                self.complain(place, "a comma or ] should stand here")
            node = self.value(place, depth + 1)
            values.append(node.value)
            place = self.gap(node.end)
            is_open = self._text.startswith(",", place)
            place = self.gap(place + 1) if is_open else place
        return Node(start, place + 1, values)
