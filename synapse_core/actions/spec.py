"""What can be scaffolded: one specification for each action template that comes with the package.

The `ActionSpec` here tells of a template, before there is a plugin. The one of `describe` tells of an action
that a plugin has. How files are made from templates is in `scaffold`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from synapse_core.enums import PluginCategory
from synapse_core.errors import NotFound, did_you_mean, nearest

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
# A template is no module: nothing may import it, collect it or complain of it.
SUFFIX = ".tmpl"
_TABLE = "category.toml"


class ActionType(StrEnum):
    """What an action is in Python: a class, or the deprecated function with a decorator."""

    CLASS = "class"
    FUNCTION = "function"


@dataclass(frozen=True)
class ActionSpec:
    """One action template.

    template_file: its name without endings. is_primary: the one action of its category to look at first.
    supports: further templates that it imports. files: others that come with it, such as samples. check: what
    holds of its `result` where it is run without parameters, as a Python expression. refuses: parameters that
    do not fit it. test: the template of its test. needs_cluster: it cannot be run without Ray.
    """

    name: str
    category: PluginCategory
    template_file: str
    class_name: str
    action_type: ActionType = ActionType.CLASS
    description: str = ""
    is_primary: bool = False
    supports: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    check: str = "result"
    refuses: Mapping[str, Any] = field(default_factory=dict, hash=False)
    test: str = "base/test_action.py"
    needs_cluster: bool = False

    @property
    def template_path(self) -> str:
        """The template's path below the templates, such as 'export/plugin/export.py.tmpl'."""
        return f"{self.category.value}/plugin/{self.template_file}.py{SUFFIX}"

    @property
    def entrypoint(self) -> str:
        """Where the written plugin has it: 'plugin.export.ExportAction'."""
        return f"plugin.{self.template_file}.{self.class_name}"

    @property
    def output_file(self) -> str:
        """The file that is written, relative to the plugin's folder."""
        return f"plugin/{self.template_file}.py"


@dataclass(frozen=True)
class CategoryTemplates:
    """The actions of one category, the primary one among them, and what its config.yaml has besides."""

    category: PluginCategory
    description: str
    actions: tuple[ActionSpec, ...]
    config: Mapping[str, Any] = field(default_factory=dict)


class ActionRegistry:
    """The action templates of a folder, by category and name; the folder is read when first asked."""

    def __init__(self, templates: Path = TEMPLATES) -> None:
        self._templates = templates

    @cached_property
    def _categories(self) -> dict[PluginCategory, CategoryTemplates]:
        known = {category: self._templates / category.value / _TABLE for category in PluginCategory}
        return {category: _read(category, file) for category, file in known.items() if file.is_file()}

    def category(self, category: PluginCategory | str) -> CategoryTemplates:
        """Return everything about a category. Raises NotFound with the nearest ones."""
        found = next((one for name, one in self._categories.items() if name.value == category), None)
        if found is None:
            known = [name.value for name in self._categories]
            raise NotFound(
                f"There are no templates for the category {str(category)!r}."
                f"{did_you_mean(str(category), known)} The categories are {', '.join(known)}.",
                {"asked": str(category), "nearest": nearest(str(category), known)},
                hint="Give one of these; 'custom' fits any work.",
            )
        return found

    def has_category(self, category: PluginCategory | str) -> bool:
        return any(name.value == category for name in self._categories)

    def list_actions(self, category: PluginCategory | str) -> list[ActionSpec]:
        """Return the actions of a category, in the order in which they are used. Raises NotFound."""
        return list(self.category(category).actions)

    def list_all_actions(self) -> list[ActionSpec]:
        return [spec for found in self._categories.values() for spec in found.actions]

    def get_action(self, category: PluginCategory | str, name: str) -> ActionSpec:
        """Return one action template. Raises NotFound that names those there are."""
        specs = {spec.name: spec for spec in self.list_actions(category)}
        if name not in specs:
            raise NotFound(
                f"The category {str(category)!r} has no template {name!r}; it has {', '.join(specs)}."
                f"{did_you_mean(name, specs)}",
                {"asked": name, "available": list(specs), "nearest": nearest(name, specs)},
            )
        return specs[name]

    def get_primary_action(self, category: PluginCategory | str) -> ActionSpec:
        specs = self.list_actions(category)
        return next((spec for spec in specs if spec.is_primary), specs[0])

    def get_entrypoint(self, category: PluginCategory | str, name: str) -> str:
        return self.get_action(category, name).entrypoint

    def get_class_name(self, category: PluginCategory | str, name: str) -> str:
        return self.get_action(category, name).class_name

    def find(self, name: str) -> ActionSpec | None:
        """Return the template of this name, whichever category has it; None where none has."""
        return next((spec for spec in self.list_all_actions() if spec.name == name), None)

    def text(self, path: str) -> str:
        """Return a template, given by its path below the templates."""
        return (self._templates / path).read_text(encoding="utf-8")

    def refresh(self) -> None:
        """Forget what was read: the folder is read again when next asked."""
        self.__dict__.pop("_categories", None)


@lru_cache(maxsize=1)
def get_action_registry() -> ActionRegistry:
    """Return the registry of the templates that come with the package, the same one every time."""
    return ActionRegistry()


def _read(category: PluginCategory, file: Path) -> CategoryTemplates:
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    actions = [
        ActionSpec(
            name=name,
            category=category,
            template_file=name,
            class_name=entry["class"],
            action_type=ActionType(entry.get("type", ActionType.CLASS)),
            description=entry["description"],
            is_primary=name == table["primary"],
            supports=tuple(entry.get("supports", ())),
            files=tuple(entry.get("files", ())),
            check=entry.get("check", ActionSpec.check),
            refuses=entry["refuses"],
            test=entry.get("test", ActionSpec.test),
            needs_cluster=entry.get("needs_cluster", False),
        )
        for name, entry in table["actions"].items()
    ]
    return CategoryTemplates(category, table["description"], tuple(actions), table.get("config", {}))
