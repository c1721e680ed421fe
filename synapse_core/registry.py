"""The plugins on the search paths and the specifications of their actions. Imports no plugin code.

A plugin is a folder with a config.yaml; a search path is such a folder or one that holds such folders.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.config import CONFIG_NAME, PluginConfig, load_config
from synapse_core.decoding import decoded
from synapse_core.describe import ActionSpec, Answer, Description, Issue, Query
from synapse_core.discovery import PASSED_OVER
from synapse_core.errors import (
    ActionNotFoundError,
    InvalidConfig,
    PluginLoadError,
    PluginNotFound,
    ValidationError,
)
from synapse_core.plugin_child import PluginChild
from synapse_core.releases import Releases
from synapse_core.yaml_lines import MAX_BYTES

_SOURCES = (".py", ".yaml", ".yml", ".json", ".toml", ".txt", ".cfg", ".j2")
_MOST_SOURCES = 5_000
_MOST_CHILDREN = 4
_IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class Plugin:
    """One plugin on the search paths. config is None where it cannot be used; `issues` say why."""

    code: str
    root: Path
    config: PluginConfig | None
    issues: tuple[Issue, ...] = ()

    @property
    def is_ok(self) -> bool:
        return self.config is not None and not any(issue.severity == "error" for issue in self.issues)


@dataclass(frozen=True)
class CheckedAction:
    """An action and its plugin, of one state of the plugin's files. content: see Registry.content."""

    plugin: Plugin
    config: PluginConfig
    spec: ActionSpec
    content: str


class Registry:
    """Finds plugins, describes them, and checks parameters for them.

    paths: searched in order; of two plugins with one code the first is used. cache: a folder of its own.
    releases: where published plugins come from, which are asked for as code@version and never listed.
    Safe to use from several threads.
    """

    def __init__(self, paths: Sequence[Path], cache: Path, releases: Releases | None = None) -> None:
        self.paths = tuple(paths)
        self._releases = releases
        self._cache = cache
        self._lock = threading.Lock()
        self._configs: dict[Path, tuple[bytes, Plugin]] = {}
        self._contents: dict[Path, tuple[str, str]] = {}
        self._children: dict[str, PluginChild] = {}

    def plugins(self) -> list[Plugin]:
        """Return every plugin, by code. A broken one is there too, with its issues."""
        found: dict[str, Plugin] = {}
        for root in self._roots():
            plugin = self._read(root)
            first = found.get(plugin.code)
            if first is None:
                found[plugin.code] = plugin
                continue
            # A broken one is known by its folder only: it must not stand before a plugin of that code.
            is_hidden = first.config is None and plugin.config is not None
            used, other = (plugin, first) if is_hidden else (first, plugin)
            issues = (*used.issues, *_notes_on(other))
            found[plugin.code] = Plugin(used.code, used.root, used.config, issues)
        return [found[code] for code in sorted(found)]

    def get(self, code: str) -> Plugin:
        """Return a plugin. Raises PluginNotFound with the nearest codes.

        code@version is a published one; fetching it raises what Releases does.
        """
        if "@" in code and self._releases is not None:
            return self._read(self._releases.root(code))
        plugins = {plugin.code: plugin for plugin in self.plugins()}
        if code not in plugins:
            raise PluginNotFound(code, list(plugins))
        return plugins[code]

    def usable(self, code: str) -> tuple[Plugin, PluginConfig]:
        """Return a plugin and its config. Raises PluginNotFound, or InvalidConfig with its problems."""
        plugin = self.get(code)
        if plugin.config is None:
            raise InvalidConfig("\n".join(issue.message for issue in plugin.issues))
        return plugin, plugin.config

    def describe(self, code: str) -> Description:
        """Return all actions of a plugin that load, and an issue for each that does not."""
        plugin, _ = self.usable(code)
        return self._describe(plugin, self.content(plugin.root))

    def spec(self, code: str, action: str) -> ActionSpec:
        """Return the specification of an action.

        Raises PluginNotFound, ActionNotFoundError, or PluginLoadError where its code does not load.
        """
        plugin, config = self.usable(code)
        return self._spec(plugin, config, action, self.content(plugin.root))

    def found(self, code: str, action: str) -> CheckedAction:
        """Return an action as it is now, its parameters not checked. Raises what `spec` raises."""
        plugin, config = self.usable(code)
        content = self.content(plugin.root)
        return CheckedAction(plugin, config, self._spec(plugin, config, action, content), content)

    def check(self, code: str, action: str, params: dict[str, Any]) -> CheckedAction:
        """Check parameters against the action's own model, validators included.

        Raises ValidationError with every problem at once, and what `spec` raises.
        """
        plugin, config = self.usable(code)
        # Looked for once: what is returned is of one state of the plugin's files.
        content = self.content(plugin.root)
        spec = self._spec(plugin, config, action, content)
        reply = self._ask(plugin, content, Query(action, params))
        if reply.failure is not None:
            raise PluginLoadError(reply.failure.message, hint=reply.failure.hint)
        if reply.problems:
            raise ValidationError(
                reply.message or "The parameters do not fit.",
                problems=reply.problems,
                hint="Correct the named parameters and call again; nothing was started. describe_plugin "
                "with the action's name shows the schema.",
            )
        return CheckedAction(plugin, config, spec, content)

    def content(self, root: Path) -> str:
        """Return a digest of a plugin's sources, so that an edit makes another plugin of it."""
        signature, files = _signature(root)
        with self._lock:
            known = self._contents.get(root)
        if known is not None and known[0] == signature:
            return known[1]
        digest = hashlib.sha256(os.fsencode(f"{sys.version}\0{root}\0"))
        for file in files:
            with suppress(OSError):  # gone since it was listed, or not for us to read
                digest.update(os.fsencode(file.relative_to(root)) + b"\0" + file.read_bytes() + b"\0")
        content = digest.hexdigest()[:32]
        with self._lock:
            self._contents[root] = (signature, content)
        return content

    def close(self) -> None:
        """End the describing children."""
        with self._lock:
            children, self._children = list(self._children.values()), {}
        for child in children:
            child.close()

    def _describe(self, plugin: Plugin, content: str) -> Description:
        stored = self._cache / f"{content}.json"
        try:
            return decoded(stored.read_bytes(), Description)
        except (FileNotFoundError, UnicodeDecodeError, msgspec.MsgspecError):
            pass  # not described yet, or by another version
        description = self._ask(plugin, content, Query()).description or Description()
        if not description.issues:
            # Issues are not kept: installing what a plugin lacks changes none of its files.
            _write(stored, msgspec.json.encode(description))
        return description

    def _spec(self, plugin: Plugin, config: PluginConfig, action: str, content: str) -> ActionSpec:
        if action not in config.actions:
            raise ActionNotFoundError(plugin.code, action, list(config.actions))
        description = self._describe(plugin, content)
        for spec in description.actions:
            if spec.name == action:
                return spec
        mine = [issue for issue in description.issues if issue.message.startswith(f"{action}: ")]
        message = "; ".join(issue.message for issue in mine) or f"{action} could not be loaded"
        raise PluginLoadError(
            f"Action {plugin.code}/{action} cannot be run: {message}", hint=mine[0].hint if mine else None
        )

    def _roots(self) -> Iterator[Path]:
        seen: set[Path] = set()
        for path in self.paths:
            for root in _plugin_folders(path):
                if root not in seen:
                    seen.add(root)
                    yield root

    def _read(self, root: Path) -> Plugin:
        """Return the plugin of a folder, parsed anew when its config.yaml has changed."""
        try:
            with open(root / CONFIG_NAME, "rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError:
            content = None  # why it cannot be read is told below
        known = self._configs.get(root)
        if known is not None and content is not None and known[0] == content:
            return known[1]
        try:
            loaded = load_config(root)
            issues = tuple(
                Issue(str(issue.severity), issue.message, file=str(issue.file), line=issue.line)
                for issue in loaded.issues
            )
            plugin = Plugin(loaded.config.code, root, loaded.config, issues)
        except InvalidConfig as error:
            plugin = Plugin(root.name, root, None, tuple(_issues_of(error)))
        if content is not None:
            self._configs[root] = (content, plugin)
        return plugin

    def _ask(self, plugin: Plugin, content: str, query: Query) -> Answer:
        """Ask the child that holds this state of the plugin's code, starting it where there is none."""
        with self._lock:
            child = self._children.pop(content, None)
            dead = [child] if child is not None and not child.is_alive and not child.askers else []
            if child is None or not child.is_alive:
                child = PluginChild(plugin.root)
            self._children[content] = child
            child.askers += 1
            idle = [self._children.pop(key) for key in self._to_close(content)]
        for unused in (*dead, *idle):
            unused.close()
        try:
            return child.ask(query)
        except PluginLoadError:
            with self._lock:
                if self._children.get(content) is child:
                    del self._children[content]
            raise
        finally:
            with self._lock:
                child.askers -= 1
                is_done_with = not child.askers and self._children.get(content) is not child
            if is_done_with:
                child.close()

    def _to_close(self, content: str) -> list[str]:
        """Return which children have idled too long or are too many; none that is being asked."""
        others = [key for key, child in self._children.items() if key != content and not child.askers]
        surplus = others[: max(0, len(self._children) - _MOST_CHILDREN)]
        now = time.monotonic()
        idle = [key for key in others if now - self._children[key].used > _IDLE_SECONDS]
        return list(dict.fromkeys([*surplus, *idle]))


def _notes_on(unused: Plugin) -> Iterator[Issue]:
    """Yield what is to be told of a plugin whose code another one bears."""
    yield Issue("warning", f"{unused.root} bears the same code and is not used.", file=str(unused.root))
    for issue in unused.issues:
        yield Issue("warning", issue.message, issue.hint, issue.file, issue.line)


def _issues_of(error: InvalidConfig) -> Iterator[Issue]:
    for problem in error.problems:
        yield Issue(
            str(problem.get("severity", "error")),
            str(problem.get("message", error.message)),
            error.hint,
            problem.get("file"),
            problem.get("line"),
        )


def _plugin_folders(path: Path) -> Iterable[Path]:
    if _is_plugin(path):
        return [path.resolve()]
    try:
        return sorted(entry.resolve() for entry in path.iterdir() if _is_plugin(entry))
    except (OSError, ValueError):
        return []  # no folder, no path at all, or not for us to read: the other paths count all the same


def _is_plugin(path: Path) -> bool:
    return os.path.isfile(path / CONFIG_NAME)  # noqa: PTH113  # Path.is_file raises where it may not look


def _signature(root: Path) -> tuple[str, list[Path]]:
    """Return a text that changes with any source file of a plugin, and those files, in order."""
    marks: list[str] = []
    files: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in PASSED_OVER)
        for name in sorted(names):
            if name.endswith(_SOURCES) and len(files) < _MOST_SOURCES:
                file = Path(folder, name)
                with suppress(OSError):  # gone meanwhile, or a link to nowhere: editors leave such behind
                    status = file.stat()
                    if stat.S_ISREG(status.st_mode) and status.st_size <= 1 << 20:
                        files.append(file)
                        # Tools can set a file's mtime back, never its ctime.
                        times = f"{status.st_mtime_ns}:{status.st_ctime_ns}"
                        marks.append(f"{file}:{times}:{status.st_size}:{status.st_ino}")
    return "\n".join(marks), files


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    temporary.write_bytes(content)
    temporary.replace(path)
