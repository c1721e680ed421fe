"""One more action in a `config.yaml`, as text: comments, order and spelling of the rest stay as they are.

What an entry says is the caller's business; reading the file is that of `config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from synapse_core.errors import InvalidRequest
from synapse_core.yaml_lines import YamlDocument, read_yaml

# The line breaks of YAML.
_LINE = re.compile("[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+")
_EMPTY = re.compile(r"""(["']?actions["']?[ \t]*:)(?:[ \t]+(?:\{[ \t]*\}|null|~))?([ \t]*(?:#.*)?[\r\n]*)""")
_END = re.compile(r"\.\.\.|---")


def with_action(source: bytes, name: str, entry: Mapping[str, str]) -> bytes:
    """Return a config.yaml with another action in it, behind those that are there.

    entry: its keys and values, values written as YAML. source: of a config that can be used.
    Raises InvalidRequest with the lines to add where nobody can tell their place for certain.
    """
    text = source.decode("utf-8")
    document = read_yaml(source)
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _LINE.findall(text)
    indent = _insert(
        lines, document, [f"{name}:", *(f"  {key}: {value}" for key, value in entry.items())], newline
    )
    edited = "".join(lines).encode("utf-8")
    if indent is None or not _is_what_was_meant(document.data, read_yaml(edited), name):
        wanted = "\n".join(
            ["actions:", f"  {name}:", *(f"    {key}: {value}" for key, value in entry.items())]
        )
        raise InvalidRequest(
            f"The place for action {name!r} in config.yaml cannot be told for certain; nothing was changed.",
            hint=f"Write `actions` in block style, or add these lines yourself:\n{wanted}",
        )
    return edited


def _insert(lines: list[str], document: YamlDocument, entry: list[str], newline: str) -> str | None:
    """Put the entry into the lines. Returns its indentation, None where there is no place for it."""
    at = document.lines.get(("actions",))
    actions = (document.data or {}).get("actions")
    if at is None:
        indent, place = "  ", _before_the_end(lines, len(lines), "  ")
        entry = ["actions:", *(indent + line for line in entry)]
    elif not actions:
        # Their braces, or a null, make room for what stands below.
        if (match := _EMPTY.fullmatch(lines[at - 1])) is None:
            return None
        lines[at - 1] = match[1] + match[2]
        indent, place = "  ", at
        entry = [indent + line for line in entry]
    else:
        first = min(document.lines["actions", name] for name in actions)
        indent = re.match(r" *", lines[first - 1])[0]  # type: ignore[index]  # it fits every text
        below = [line for path, line in document.lines.items() if len(path) == 1 and line > at]
        place = _before_the_end(lines, min(below, default=len(lines) + 1) - 1, indent)
        entry = [indent + line for line in entry]
    if place and not lines[place - 1].endswith(("\n", "\r")):
        lines[place - 1] += newline
    lines[place:place] = [line + newline for line in entry]
    return indent


def _before_the_end(lines: list[str], end: int, indent: str) -> int:
    """Return the place behind the last line that says something; comments belong to what follows them."""
    while end:
        line = lines[end - 1]
        is_comment = line.lstrip().startswith("#") and not (indent and line.startswith(indent))
        if line.strip() and not is_comment and not _END.match(line):
            break
        end -= 1
    return end


def _is_what_was_meant(before: Any, after: YamlDocument, name: str) -> bool:
    """Return True where the files differ by the one action, and the second one has no new problem."""
    if after.problems or not isinstance(after.data, dict):
        return False
    rest = {key: value for key, value in after.data.items() if key != "actions"}
    actions = dict(after.data.get("actions") or {})
    added = actions.pop(name, None)
    old_actions = before.get("actions") or {}
    return (
        isinstance(added, dict)
        and actions == old_actions
        and rest == {key: value for key, value in before.items() if key != "actions"}
    )
