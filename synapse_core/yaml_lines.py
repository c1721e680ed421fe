"""YAML from strangers as plain data, together with the line of every key.

Here: the limits, the refusal of tags, and syntax problems told for whoever repairs the file. What the keys
mean is the reader's business; see `config`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

MAX_BYTES = 2**20
MAX_DEPTH = 50
MAX_NODES = 20_000

KeyPath = tuple[str | int, ...]

# libyaml is some ten times faster and keeps the lines; both loaders know plain data only.
_LOADER: type[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

# A longer number is no setting, and "1:1:1:…" (base 60 in YAML 1.1) takes quadratic time.
_MAX_NUMBER_LENGTH = 50

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
# "value" is a lone "=", "merge" a "<<" that is no key; dates stay as written, because JSON knows none.
_TEXT_KINDS = frozenset({"str", "timestamp", "value", "merge"})
_SCALAR_KINDS = frozenset({"null", "bool", "int", "float"}) | _TEXT_KINDS

_SYNTAX_HINTS = {
    "cannot start any token": " Indent with spaces, not tabs, and quote a text that begins with @ or `.",
    "mapping values are not allowed": " Quote a text that contains ': ', and check the indentation.",
}


@dataclass(frozen=True)
class YamlProblem:
    """One thing that is wrong with the YAML itself. line: counted from 1."""

    path: KeyPath
    line: int
    message: str


@dataclass(frozen=True)
class YamlDocument:
    """What one YAML file holds.

    data: dict (keys are text), list, str, int, finite float, bool or None; None as well where a problem is.
    lines: the line of every key and list item, counted from 1.
    problems: data, because the reader of a file wants to tell all of them at once.
    """

    data: Any
    lines: Mapping[KeyPath, int]
    problems: tuple[YamlProblem, ...]

    def line_of(self, path: KeyPath) -> int:
        """Return the line of this key, or of the nearest key around it; 1 at the top."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(source: bytes, as_text: Collection[str] = ()) -> YamlDocument:
    """Read one YAML document, safely: no tags, MAX_BYTES, and MAX_DEPTH and MAX_NODES after alias expansion.

    as_text: top-level keys at and below which 1.10, 0755 and yes stay as written; null is None all the same.
    """
    walk = _Walk(frozenset(as_text))
    data = None
    try:
        text = _decode(source)
        _refuse_excess(text)
        if (root := yaml.compose(text, Loader=_LOADER)) is not None:
            data = walk.value(root, (), 1)
    except yaml.YAMLError as error:
        walk.problems.append(_syntax_problem(error))
    return YamlDocument(data, walk.lines, tuple(walk.problems))


def _decode(source: bytes) -> str:
    if len(source) > MAX_BYTES:
        raise _refusal(f"the file is larger than {MAX_BYTES:,} bytes")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8-sig")
        raise _refusal(
            f"byte 0x{source[error.start]:02x} is not UTF-8; save the file as UTF-8", _end_of(before)
        ) from error
    if stray := yaml.reader.Reader.NON_PRINTABLE.search(text):
        raise _refusal(
            f"the control character U+{ord(stray[0]):04X} is not allowed", _end_of(text[: stray.start()])
        )
    return text


def _end_of(text: str) -> yaml.Mark:
    column = len(text) - text.rfind("\n") - 1
    return yaml.Mark("", len(text), text.count("\n"), column, None, 0)


def _refusal(problem: str, mark: Any = None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _refuse_excess(text: str) -> None:
    """Raise where the document is too deep or too large as written, before anything is built from it."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        _check_limits(depth, nodes, event.start_mark)


def _check_limits(depth: int, nodes: int, mark: Any) -> None:
    if depth > MAX_DEPTH:
        raise _refusal(
            f"this nests deeper than {MAX_DEPTH} levels, what its aliases stand for included", mark
        )
    if nodes > MAX_NODES:
        raise _refusal(f"the file holds more than {MAX_NODES:,} values, each alias written out", mark)


def _syntax_problem(error: yaml.YAMLError) -> YamlProblem:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    hint = next((hint for part, hint in _SYNTAX_HINTS.items() if part in problem), "")
    column = f"column {mark.column + 1}: " if mark else ""
    told = f"{context}, {problem}" if context else problem
    return YamlProblem((), mark.line + 1 if mark else 1, f"{column}{told}.{hint}")


@dataclass
class _Walk:
    """One walk over the nodes of a document, each alias followed every time it occurs."""

    as_text: frozenset[str]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[YamlProblem] = field(default_factory=list)
    visited: int = 0

    def value(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        """Return the node as plain data; None where it has a problem."""
        self.visited += 1
        _check_limits(depth, self.visited, node.start_mark)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode) and kind in _SCALAR_KINDS:
            return self._scalar(node, kind, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self._item(item, (*path, index), depth) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path, depth)
        tag = node.tag.replace(_TAG, "!!")
        self._report(path, node, f"the tag {tag} is not allowed; write text, numbers, lists and mappings.")
        return None

    def _scalar(self, node: yaml.ScalarNode, kind: str, path: KeyPath) -> Any:
        if kind == "null":
            return None
        if kind in _TEXT_KINDS or (path and path[0] in self.as_text):
            return node.value
        try:
            return _plain_value(node)
        except (ValueError, KeyError):
            # `!!int x`, `!!bool x` and `0b_` bear the tag and are nothing of the kind.
            shown = repr(node.value[:_MAX_NUMBER_LENGTH])
            self._report(path, node, f"{shown} cannot be read as {kind}; quote it if it is a text.")
            return None

    def _item(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        self.lines[path] = _line(node)
        return self.value(node, path, depth + 1)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, int] = {}
        # Merges ("<<") first, so that what is written here has the last word, on the line as well.
        for key_node, value_node in sorted(node.value, key=lambda pair: pair[0].tag != _MERGE):
            key = key_node.value
            if key_node.tag == _MERGE:
                merged |= self._merge(value_node, path, depth)
            elif not isinstance(key, str):
                self._report(path, key_node, "a key must be a text, not a list or a mapping.")
            elif key in own:
                lines = f"lines {own[key]} and {_line(key_node)}"
                self._report((*path, key), key_node, f"the key {key!r} stands twice, on {lines}; keep one.")
            else:
                own[key] = self.lines[*path, key] = _line(key_node)
                merged[key] = self.value(value_node, (*path, key), depth + 1)
        return merged

    def _merge(self, node: yaml.Node, path: KeyPath, depth: int) -> dict[str, Any]:
        """Return what '<<' brings in: one mapping or a list of them, the first of which wins."""
        merged: dict[str, Any] = {}
        for source in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.value(source, path, depth + 1)
            if isinstance(value, dict):
                merged |= value
            else:
                self._report(path, source, "'<<' takes a mapping or a list of mappings.")
        return merged

    def _report(self, path: KeyPath, node: yaml.Node, message: str) -> None:
        self.problems.append(YamlProblem(path, _line(node), message))


def _plain_value(node: yaml.ScalarNode) -> bool | int | float:
    if len(node.value) > _MAX_NUMBER_LENGTH:
        raise ValueError("too long for a number")
    value: bool | int | float = SafeConstructor().construct_object(node)
    if not math.isfinite(value):
        raise ValueError("JSON has neither infinity nor NaN")
    return value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
