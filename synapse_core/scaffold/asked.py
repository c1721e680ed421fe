"""What is asked for: codes, names and actions that can be written, and whether their place is free."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synapse_core.actions.spec import ActionSpec, get_action_registry
from synapse_core.config import CODE, CODE_RULE, CONFIG_NAME, load_config, near_code
from synapse_core.enums import PluginCategory
from synapse_core.errors import Conflict, InvalidConfig, InvalidRequest, NotFound, did_you_mean

# Names of things around a plugin, and files that some systems cannot have.
RESERVED_CODES = ("synapse", "plugin", "plugins", "test", "tests", "con", "prn", "aux", "nul")
_ACTION = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST_NAME_CHARS = 100
_TO_ADD = (
    "An action is put into a plugin that is there by add=true, or by the command `synapse-mcp add-action`."
)


@dataclass(frozen=True)
class Chosen:
    """An action to be written: its name, and the template that it is made from."""

    name: str
    spec: ActionSpec

    @property
    def class_name(self) -> str:
        if self.name == self.spec.name:
            return self.spec.class_name
        return "".join(part.capitalize() for part in self.name.split("_")) + "Action"


def check_code(code: str) -> None:
    if not CODE.fullmatch(code):
        near = near_code(code)
        raise InvalidRequest(
            f"{code[:80]!r} cannot be the code of a plugin: it should be {CODE_RULE}.",
            hint=f"Call again with code={near!r}." if near else "Choose a code such as 'my_plugin'.",
        )
    if code in RESERVED_CODES:
        raise InvalidRequest(
            f"The code {code!r} is reserved.", hint=f"Choose one that says what it does: {code}_of_cats."
        )


def one_line(what: str, text: str) -> str:
    line = text.strip()
    if not line or len(line) > _MOST_NAME_CHARS or not line.isprintable():
        raise InvalidRequest(
            f"The {what} {text[:60]!r} should be one line of 1 to {_MOST_NAME_CHARS} printable characters."
        )
    return line


def choose(category: PluginCategory, action: str) -> Chosen:
    """Return an action with its template.

    action: the name of a template; NAME=TEMPLATE to give it another one; in a custom plugin any name, made
    from the template `main`. Raises InvalidRequest for a bad name, NotFound for no template.
    """
    registry = get_action_registry()
    name, _, template = action.partition("=")
    supports = {support for spec in registry.list_all_actions() for support in spec.supports}
    if not _ACTION.fullmatch(name) or keyword.iskeyword(name) or name in supports:
        raise InvalidRequest(
            f"{name[:80]!r} cannot be an action's name: it becomes a module, so 1 to 63 lower case letters, "
            f"digits and '_', no Python keyword and none of {', '.join(sorted(supports))}.",
            hint="Choose a verb that says what it does, such as 'count_words'.",
        )
    spec = registry.find(template or name)
    if spec is None and not template and category is PluginCategory.CUSTOM:
        spec = registry.get_primary_action(category)
    if spec is None:
        known = [one.name for one in registry.list_all_actions()]
        raise NotFound(
            f"There is no template {template or name!r}; there are {', '.join(known)}."
            f"{did_you_mean(template or name, known)}",
            {"asked": template or name, "available": known},
            hint=f"'{name}=TEMPLATE' makes an action of this name from one of these; main fits any work.",
        )
    return Chosen(name, spec)


def check_free(parent: Path, code: str, taken: Mapping[str, Path]) -> None:
    """Raise Conflict where the folder is there, or the code belongs to another plugin."""
    target = parent / code
    if os.path.lexists(target):
        raise Conflict(
            f"{target} is there already: {what_stands_at(target)}. Nothing was written.",
            hint=f"Choose another code or path. {_TO_ADD}",
        )
    elsewhere = {**_codes_in(parent), **taken}
    if code in elsewhere:
        raise Conflict(
            f"The code {code!r} belongs to the plugin in {elsewhere[code]}. Nothing was written.",
            hint=f"Choose another code. {_TO_ADD}",
        )


def _codes_in(parent: Path) -> dict[str, Path]:
    found = {}
    for file in parent.glob(f"*/{CONFIG_NAME}"):
        try:
            found[load_config(file).config.code] = file.parent
        except InvalidConfig:
            continue  # a broken plugin bears no code
    return found


def what_stands_at(target: Path) -> str:
    if target.is_symlink():
        return f"a link to {target.readlink()}"
    if not target.is_dir():
        return "a file"
    try:
        config = load_config(target).config
    except InvalidConfig:
        # Whatever it is, it is no plugin that can be used.
        names = sorted(entry.name for entry in target.iterdir())
        return (
            f"a folder with {', '.join(names[:5])}{' …' if names[5:] else ''}" if names else "an empty folder"
        )
    return f"the plugin {config.name!r} with {', '.join(config.actions) or 'no actions'}"
