"""The shape of a pipeline: what its entries are called, and which has to come before which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from synapse_core.errors import InvalidRequest, did_you_mean, nearest
from synapse_core.run_folder import RetryPolicy

# A name is also that of a folder.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")


class PipelineAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action of a pipeline, as whoever makes the pipeline writes it.

    action: a BaseAction class, an @action function, "plugin/action", or the name of an action of the
        executor's own plugin.
    name: what the entry is called; the action's name where it is left out.
    after: the entries that have to succeed before. Left out, it is the entry before this one; with ()
        the action begins at once.
    params: win over the parameters of the pipeline and over what earlier actions return.
    timeout_seconds, resources: over those of config.yaml.
    """

    action: Any
    name: str | None = None
    after: tuple[str, ...] | None = None
    params: dict[str, Any] = {}
    retry: RetryPolicy = RetryPolicy()
    timeout_seconds: float | None = None
    resources: dict[str, Any] = {}


class Node(msgspec.Struct, frozen=True):
    """An entry with its name and its place settled."""

    name: str
    after: tuple[str, ...]
    asked: PipelineAction


def arranged(actions: Sequence[PipelineAction], titles: Sequence[str]) -> list[Node]:
    """Return the entries, each after those that it depends on, otherwise in the order given.

    titles: the actions' own names, for entries without one; a second `train` becomes `train-2`.
    Raises InvalidRequest that names a wrong, doubled or unknown name, or the circle.
    """
    if not actions:
        raise InvalidRequest("A pipeline needs at least one action.")
    names = _names(actions, titles)
    nodes = []
    for index, (name, asked) in enumerate(zip(names, actions, strict=True)):
        before = asked.after if asked.after is not None else tuple(names[index - 1 : index])
        if unknown := [one for one in before if one not in names]:
            raise InvalidRequest(
                f"{name!r} comes after {unknown[0]!r}, which is not in the pipeline."
                f"{did_you_mean(unknown[0], names)} Its actions are {', '.join(names)}.",
                {"asked": unknown[0], "nearest": nearest(unknown[0], names)},
            )
        nodes.append(Node(name, tuple(dict.fromkeys(before)), asked))
    return _sorted(nodes)


def ancestors_of(after: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return for each entry all that come before it. after: in an order in which none precedes its own."""
    found: dict[str, set[str]] = {}
    for name, before in after.items():
        found[name] = set(before).union(*(found[one] for one in before))
    return found


def _names(actions: Sequence[PipelineAction], titles: Sequence[str]) -> list[str]:
    names: list[str] = []
    given = [action.name for action in actions if action.name is not None]
    for action, title in zip(actions, titles, strict=True):
        name = action.name
        if name is None:
            stem = re.sub(r"[^A-Za-z0-9_-]", "-", title).lstrip("-")[:50] or "action"
            free = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
            name = next(each for each in free if each not in names and each not in given)
        elif not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} cannot be the name of an action in a pipeline.",
                hint="Take up to 63 letters, digits, '_' and '-'.",
            )
        elif name in names:
            raise InvalidRequest(f"Two actions of the pipeline are called {name!r}.", hint="Name them apart.")
        names.append(name)
    return names


def _sorted(nodes: list[Node]) -> list[Node]:
    done: dict[str, Node] = {}
    waiting = list(nodes)
    while waiting:
        ready = next((node for node in waiting if all(one in done for one in node.after)), None)
        if ready is None:
            circle = _circle({node.name: node.after for node in waiting})
            raise InvalidRequest(f"The pipeline goes in a circle: {' after '.join(circle)}.")
        waiting.remove(ready)
        done[ready.name] = ready
    return list(done.values())


def _circle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of a circle, the first of them at the end once more."""
    path = [next(iter(after))]
    while path.count(path[-1]) == 1:
        path.append(next(one for one in after[path[-1]] if one in after))
    return path[path.index(path[-1]) :]
