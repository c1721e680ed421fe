"""Writing plugins: files that run as they are, to be changed from there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
from mcp.server.mcpserver import Context

from synapse_core import scaffold
from synapse_core.config import CONFIG_NAME
from synapse_core.errors import InvalidRequest
from synapse_core.home import Home
from synapse_core.scaffold import CreatedPlugin
from synapse_mcp.allowed_paths import allowed
from synapse_mcp.app import App
from synapse_mcp.lookup import app_of
from synapse_mcp.settings import Settings, example_plugins

Category = Literal[
    "neural_net",
    "export",
    "upload",
    "smart_tool",
    "pre_annotation",
    "post_annotation",
    "data_validation",
    "custom",
]


class CreatedRecord(msgspec.Struct, kw_only=True):
    """What was written; files are relative to root."""

    plugin: str
    root: str
    actions: list[str]
    files: list[str]
    next: str


async def create_plugin(
    ctx: Context[App, Any],
    code: str,
    category: Category = "custom",
    path: str | None = None,
    name: str | None = None,
    actions: list[str] | None = None,
    add: bool = False,
) -> CreatedRecord:
    """Write a plugin that runs as it is. actions: templates, NAME=TEMPLATE, for custom any names. add: to an
    existing plugin."""
    app = app_of(ctx)
    if not add:
        place = place_for_plugins(app.settings, path)
        return await app.call(lambda home: _created(home, code, category, place, name, actions))
    if not actions or path is not None or name is not None:
        raise InvalidRequest("add takes the code of a plugin and the actions to put into it, nothing else.")
    return await app.call(lambda home: _added(app.settings, home, code, actions))


def place_for_plugins(settings: Settings, path: str | None = None) -> Path:
    """Return where a new plugin is made: in the folder asked for, else the first writable plugin path.

    Raises InvalidRequest where the one asked for may not be used.
    """
    if path is not None:
        return Path(allowed(settings, path))
    own = settings.home / "plugins"
    return next((place for place in settings.plugin_paths if place == own or _may_hold(settings, place)), own)


def _may_hold(settings: Settings, place: Path) -> bool:
    roots = settings.allowed_paths
    return (
        place.is_dir()
        and os.access(place, os.W_OK)
        and not (place / CONFIG_NAME).is_file()  # a plugin itself
        and place != example_plugins()
        and (not roots or any(place.resolve().is_relative_to(root) for root in roots))
    )


def _created(
    home: Home, code: str, category: str, place: Path, name: str | None, actions: list[str] | None
) -> CreatedRecord:
    taken = {plugin.code: plugin.root for plugin in home.registry.plugins()}
    created = scaffold.create_plugin(code, category, place, name=name, actions=actions, taken=taken)
    record = record_of(created)
    if not any(plugin.root == created.path for plugin in home.registry.plugins()):
        record.next = f"Start the server with --plugins {place}, then {created.next}."
    return record


def _added(settings: Settings, home: Home, code: str, actions: list[str]) -> CreatedRecord:
    plugin, _ = home.registry.usable(code)
    if plugin.root.is_relative_to(example_plugins()):
        raise InvalidRequest(
            f"Plugin {code!r} is an example that comes with Synapse.", hint="Create a plugin of your own."
        )
    if not plugin.root.is_relative_to((settings.home / "plugins").resolve()):
        allowed(settings, str(plugin.root))
    done = [scaffold.add_action(plugin.root, action, check=home.registry.spec) for action in actions]
    record = record_of(done[0])
    record.actions = [action for one in done for action in one.actions]
    record.files = sorted({file for one in done for file in one.files})
    return record


def record_of(created: CreatedPlugin) -> CreatedRecord:
    """Return what an agent is told of a written plugin."""
    return CreatedRecord(
        plugin=created.code,
        root=str(created.path),
        actions=list(created.actions),
        files=list(created.files),
        next=created.next,
    )
