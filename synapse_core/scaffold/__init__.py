"""Plugins and actions written from templates: complete, or not at all, and never over anything.

What there are templates for is told in `actions.spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synapse_core.actions.spec import get_action_registry
from synapse_core.config import CONFIG_NAME, load_config
from synapse_core.enums import PluginCategory
from synapse_core.environment import default_home
from synapse_core.errors import Conflict
from synapse_core.scaffold.asked import Chosen, check_code, check_free, choose, one_line
from synapse_core.scaffold.texts import action_files, base_files
from synapse_core.scaffold.writing import alone, put_action, put_plugin

__all__ = ["CreatedPlugin", "add_action", "create_plugin"]


@dataclass(frozen=True)
class CreatedPlugin:
    """What was written. files: relative to `path`, the plugin's folder. actions: the new ones, the primary
    one first. next: the call that runs it."""

    path: Path
    files: tuple[str, ...]
    code: str
    actions: tuple[str, ...]
    next: str


def create_plugin(
    code: str,
    category: PluginCategory | str = PluginCategory.CUSTOM,
    path: str | Path | None = None,
    *,
    name: str | None = None,
    actions: Sequence[str] | None = None,
    description: str | None = None,
    taken: Mapping[str, Path] | None = None,
) -> CreatedPlugin:
    """Write a plugin that runs as it is into the folder `path`/`code`.

    path: the folder to make it in, by default `plugins` in the home. name, description: what people read, one
    line each. actions: see `choose`; all templates of the category where left out. taken: codes of plugins
    elsewhere, and where.
    Raises InvalidRequest for a code or name that cannot be, NotFound for a category or template that is not
    there, Conflict naming what stands in the way.
    """
    check_code(code)
    found = get_action_registry().category(category)
    chosen = [choose(found.category, action) for action in dict.fromkeys(actions or ())]
    if not chosen:
        chosen = [Chosen(spec.name, spec) for spec in found.actions]
    chosen.sort(key=lambda one: not one.spec.is_primary)  # stable: the primary one first, the others as named
    title = one_line("name", name or code.replace("_", " ").replace("-", " ").capitalize())
    about = one_line("description", description or found.description)
    parent = default_home() / "plugins" if path is None else Path(path).expanduser()
    check_free(parent, code, taken or {})

    files = base_files(code, found.category, title, about, chosen, found.config)
    for action in chosen:
        files |= action_files(action)
    root = put_plugin(parent, code, files)
    return CreatedPlugin(
        root, tuple(sorted(files)), code, tuple(one.name for one in chosen), _run_call(code, chosen[0].name)
    )


def add_action(
    plugin_path: str | Path, action: str, *, check: Callable[[str, str], object] | None = None
) -> CreatedPlugin:
    """Write one more action into a plugin, and its entry into config.yaml, whose other bytes stay.

    action: see `choose`. check: called with the plugin's code and the action's name when all is written; what
    it raises takes everything back.
    Raises InvalidConfig where the plugin cannot be used, Conflict where the action or a file of it is there,
    NotFound for a template that is not, InvalidRequest where config.yaml has no certain place for it.
    Whatever it raises, the plugin is as it was.
    """
    file = load_config(Path(plugin_path).expanduser()).path.resolve()
    root = file.parent
    with alone(root):
        config = load_config(file).config
        chosen = choose(config.category, action)
        if chosen.name in config.actions:
            raise Conflict(
                f"Plugin {config.code!r} has an action {chosen.name!r} already. Nothing was written.",
                hint=f"Choose another name: 'NAME={chosen.spec.name}' makes it from the same template.",
            )
        written = put_action(file, chosen, lambda: check and check(config.code, chosen.name))
    files = (*written, CONFIG_NAME)
    return CreatedPlugin(root, files, config.code, (chosen.name,), _run_call(config.code, chosen.name))


def _run_call(code: str, action: str) -> str:
    return f'run_action(plugin="{code}", action="{action}")'
