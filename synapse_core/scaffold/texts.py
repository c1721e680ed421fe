"""What is written: the texts of a plugin's files, made from templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from string import Template

from synapse_core.actions.spec import SUFFIX, ActionSpec, get_action_registry
from synapse_core.config import CONFIG_NAME
from synapse_core.enums import PluginCategory
from synapse_core.scaffold.asked import Chosen


def base_files(
    code: str,
    category: PluginCategory,
    title: str,
    description: str,
    actions: Sequence[Chosen],
    settings: Mapping[str, object],
) -> dict[str, str]:
    """Return the files of every plugin: relative path -> content."""
    entries = [
        line
        for action in actions
        for line in (f"  {action.name}:", *(f"    {key}: {value}" for key, value in entry_of(action).items()))
    ]
    values = {
        "code": code,
        "category": category.value,
        # A text in JSON is one in YAML as well; of one line, whatever is in it.
        "name": json.dumps(title, ensure_ascii=False),
        "title": title,
        "description": json.dumps(description, ensure_ascii=False),
        "settings": "".join(f"{key}: {value}\n" for key, value in settings.items()),
        "actions": "\n".join(entries),
        "primary": actions[0].name,
        "rows": "\n".join(f"| `{action.name}` | {action.spec.description} |" for action in actions),
    }
    names = {
        CONFIG_NAME: "config.yaml",
        "README.md": "README.md",
        "pyproject.toml": "pyproject.toml",
        "requirements.txt": "requirements.txt",
        ".gitignore": "gitignore",
        ".synapseignore": "synapseignore",
        "plugin/__init__.py": "package.py",
    }
    texts = {file: _base(template).substitute(values) for file, template in names.items()}
    readme = {**values, "description": description}
    return {**texts, "README.md": _base("README.md").substitute(readme)}


def _base(name: str) -> Template:
    return _template(f"base/{name}")


def _template(path: str) -> Template:
    return Template(get_action_registry().text(f"{path}{SUFFIX}"))


def entry_of(action: Chosen) -> dict[str, str]:
    """Return what config.yaml says of an action, its values written as YAML."""
    return {
        "description": json.dumps(action.spec.description, ensure_ascii=False),
        "entrypoint": f"plugin.{action.name}:{action.class_name}",
        "method": "local",
    }


def action_files(action: Chosen) -> dict[str, str]:
    """Return an action's module, the modules that it imports, and its test."""
    registry, spec = get_action_registry(), action.spec
    module = re.sub(rf"\b{spec.class_name}\b", action.class_name, registry.text(spec.template_path))
    refuses = json.dumps(spec.refuses)  # texts, numbers and lists: the same in Python
    test = _template(spec.test).substitute(action=action.name, check=spec.check, refuses=refuses)
    return {
        f"plugin/{action.name}.py": module,
        f"tests/test_{action.name}.py": test,
        **files_beside(spec),
    }


def files_beside(spec: ActionSpec) -> dict[str, str]:
    """Return what an action's module needs, which may be there and be the plugin's own by now."""
    text, category = get_action_registry().text, spec.category.value
    return {
        "tests/conftest.py": _base("conftest.py").substitute(),
        **{f"plugin/{name}.py": text(f"shared/{name}.py{SUFFIX}") for name in spec.supports},
        **{name: text(f"{category}/{name}{SUFFIX}") for name in spec.files},
    }


def package_text() -> str:
    """Return the content of plugin/__init__.py."""
    return _base("package.py").substitute()
