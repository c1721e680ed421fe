"""A plugin looked at from the inside: its config, and its action classes by import.

Only workers, describing children and library users import plugin code; a server never does.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from synapse_core.base_action import BaseAction
from synapse_core.config import CONFIG_NAME, ActionConfig, PluginConfig, load_config
from synapse_core.enums import PluginCategory, RunMethod
from synapse_core.errors import ActionNotFoundError, MissingDependency, PluginLoadError
from synapse_core.types import DataType

ActionClass = type[BaseAction[Any]]

# On an action class: which of its attributes come from its config.
_FILLED_IN = "_filled_in"

# Folders that hold nothing of a plugin's own.
PASSED_OVER = frozenset(("__pycache__", ".git", ".venv", "venv", "node_modules", ".pytest_cache"))


class PluginDiscovery:
    """One plugin: what it is called, what actions it has, and their classes."""

    def __init__(
        self, config: PluginConfig, root: Path | None, classes: dict[str, ActionClass] | None = None
    ) -> None:
        self.config = config
        self.root = root
        self._classes: dict[str, ActionClass] = dict(classes or {})

    @classmethod
    def from_path(cls, path: str | Path) -> PluginDiscovery:
        """Read a plugin folder, or its config.yaml; imports nothing.

        Raises InvalidConfig with every problem of the file, and where there is none.
        """
        loaded = load_config(Path(path))
        return cls(loaded.config, loaded.path.parent.resolve())

    @classmethod
    def from_module(
        cls,
        module: ModuleType | str,
        *,
        name: str | None = None,
        category: PluginCategory = PluginCategory.CUSTOM,
    ) -> PluginDiscovery:
        """Find the actions of a module: its @action functions and its BaseAction classes that bear a name.

        What a package takes over from its own modules counts, what comes from elsewhere does not.
        """
        if isinstance(module, str):
            module = importlib.import_module(module)
        classes: dict[str, ActionClass] = {}
        for member in vars(module).values():
            found = _as_action_class(member)
            if found is not None and found.action_name and _is_inside(found.__module__, module.__name__):
                classes[found.action_name] = found
        code = re.sub(r"[^a-z0-9_-]", "-", (name or module.__name__.rpartition(".")[2]).lower()).strip("-_")
        config = PluginConfig(
            name=name or code,
            code=code or "plugin",
            category=category,
            actions={
                action: ActionConfig(
                    name=action, entrypoint=f"{found.__module__}:{found.__name__}", method=RunMethod.LOCAL
                )
                for action, found in classes.items()
            },
        )
        return cls(config, None, classes)

    def list_actions(self) -> list[str]:
        return list(self.config.actions)

    def has_action(self, action: str) -> bool:
        return action in self.config.actions

    def get_action_config(self, action: str) -> ActionConfig:
        """Raises ActionNotFoundError naming the actions there are."""
        if not self.has_action(action):
            raise ActionNotFoundError(self.config.code, action, self.list_actions())
        return self.config.actions[action]

    def get_action_method(self, action: str) -> RunMethod:
        return self.get_action_config(action).method

    def get_action_entrypoint(self, action: str) -> str:
        """Return 'module.Class'; imports nothing. Raises PluginLoadError where config.yaml has none."""
        return self._entrypoint(action).replace(":", ".")

    def get_action_class(self, action: str) -> ActionClass:
        """Import and return the action's class, its name and category filled in where it has none.

        Raises PluginLoadError where the code does not import or is no action.
        """
        if action not in self._classes:
            entrypoint = self._entrypoint(action)
            self._classes[action] = load_action(entrypoint, self.root, self.config.code)
        return introduced(self._classes[action], action, self.config.category)

    def get_action_params_model(self, action: str) -> Any:
        """Return the pydantic model of the action's parameters, None where it takes any mapping."""
        return self.get_action_class(action).params_model

    def get_action_result_model(self, action: str) -> Any:
        return self.get_action_class(action).result_model

    def get_action_input_type(self, action: str) -> str | None:
        """Return the name of the data type that the action consumes, from its class or from config.yaml."""
        return self._type_name(action, "input_type")

    def get_action_output_type(self, action: str) -> str | None:
        return self._type_name(action, "output_type")

    def _type_name(self, action: str, attribute: str) -> str | None:
        declared: type[DataType] | None = getattr(self.get_action_class(action), attribute)
        if declared is not None:
            return declared.name
        configured: str | None = getattr(self.get_action_config(action), attribute)
        return configured

    def _entrypoint(self, action: str) -> str:
        entrypoint = self.get_action_config(action).entrypoint
        if entrypoint is None:
            raise PluginLoadError(
                f"Action {action!r} of plugin {self.config.code!r} has no entrypoint.",
                hint=f"Add actions.{action}.entrypoint: 'module:Class' to config.yaml.",
            )
        return entrypoint


def load_action(entrypoint: str, root: Path | None, plugin: str) -> ActionClass:
    """Import 'module:Class' with the plugin's folder first on the path and return the action class.

    Raises MissingDependency where a package is absent, PluginLoadError for anything else that is wrong.
    """
    module_name, _, class_name = entrypoint.partition(":")
    if root is not None:
        make_importable(root, module_name)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if missing == module_name or module_name.startswith(f"{missing}."):
            raise PluginLoadError(
                f"Plugin {plugin!r} has no module {missing!r} (entrypoint {entrypoint!r}).",
                hint=f"Entrypoints are looked up in {root}; correct config.yaml or add the module.",
            ) from error
        raise MissingDependency(missing, plugin) from error
    except (Exception, SystemExit) as error:  # importing is running foreign code: it may raise anything
        raise PluginLoadError(
            f"Plugin {plugin!r} cannot be imported: {type(error).__name__}: {error} ({_where(error, root)}).",
            hint="Correct the plugin's code; the run's log has the traceback.",
        ) from error
    found = _as_action_class(getattr(module, class_name, None))
    if found is None:
        present = [name for name, member in vars(module).items() if _as_action_class(member)]
        raise PluginLoadError(
            f"{entrypoint!r} of plugin {plugin!r} is not an action"
            f"{'' if hasattr(module, class_name) else f': the module has no {class_name!r}'}.",
            hint=f"Name a subclass of BaseAction; the module has {', '.join(present) or 'none'}.",
        )
    return found


def introduced(found: ActionClass, name: str, category: PluginCategory | str | None) -> ActionClass:
    """Return an action class that knows its name and category: those of its config where it bears none.

    What was filled in is no statement of the class, neither for its subclasses nor for another action of
    the same class.
    """
    for attribute, value in (("action_name", name), ("category", category)):
        owner = next((base for base in found.__mro__ if vars(base).get(attribute) is not None), None)
        if owner is None or attribute in vars(owner).get(_FILLED_IN, ()):
            setattr(found, attribute, value)
            setattr(found, _FILLED_IN, {*vars(found).get(_FILLED_IN, ()), attribute})
    return found


def make_importable(root: Path, module_name: str) -> None:
    """Make `module_name` mean the plugin's own module: what it is found in comes first on sys.path.

    That is the plugin's folder, or its parent where the folder itself is the package that the entrypoint
    names. A package of the same name that another plugin brought is forgotten; its classes go on working.
    """
    first = module_name.partition(".")[0]
    folder = root if _holds(root, first) or root.name != first else root.parent
    rivals = [
        entry for entry in sys.path if _holds(Path(entry), first) and Path(entry, CONFIG_NAME).is_file()
    ]
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry not in (str(folder), *rivals))]
    importlib.invalidate_caches()
    _forget_old_bytecode(folder, first)
    loaded = [name for name in sys.modules if _is_inside(name, first)]
    if any(_is_of_another_plugin(name, folder) for name in loaded):
        for name in loaded:
            del sys.modules[name]


def _holds(folder: Path, module: str) -> bool:
    return (folder / module).is_dir() or (folder / f"{module}.py").is_file()


def _forget_old_bytecode(folder: Path, module: str) -> None:
    """Remove bytecode that is older than its source, or than what was last done to it.

    Python compares the two by whole seconds and the size: a small edit soon after another would not be seen,
    nor one whose file was given its old time again.
    """
    for source in (*folder.glob("*.py"), *(folder / module).rglob("*.py")):
        compiled = Path(importlib.util.cache_from_source(str(source)))
        with suppress(OSError):  # never compiled, or not ours to remove
            changed = source.stat()
            if compiled.stat().st_mtime_ns <= max(changed.st_mtime_ns, changed.st_ctime_ns):
                compiled.unlink()


def _is_of_another_plugin(module_name: str, folder: Path) -> bool:
    """Return True for a loaded module that lies in a plugin's folder, but not where `folder` has it."""
    module = sys.modules[module_name]
    place = folder.resolve() / module_name.partition(".")[0]
    if not (origin := getattr(module, "__file__", None)):
        return _is_left_behind(module, place)
    file = Path(origin).resolve()
    if file.is_relative_to(place) or file == place.with_suffix(".py"):
        return False
    return any((home / CONFIG_NAME).is_file() for home in file.parents[: module_name.count(".") + 2])


def _is_left_behind(module: ModuleType, place: Path) -> bool:
    """Return True for a package without __init__.py that another plugin brought, or one that is gone.

    Such a package looks for its modules wherever it is on sys.path, but not in one with an __init__.py.
    """
    paths = [Path(path) for path in getattr(module, "__path__", ())]
    if any(path.resolve() == place for path in paths) and not (place / "__init__.py").is_file():
        return False
    return any((path.parent / CONFIG_NAME).is_file() or not path.exists() for path in paths)


def _is_inside(module_name: str, package: str) -> bool:
    return module_name == package or module_name.startswith(f"{package}.")


def _as_action_class(member: Any) -> ActionClass | None:
    """Return the action class that `member` is or, for an @action function, stands for."""
    if getattr(member, "_is_action", False):
        member = member._action_class
    if inspect.isclass(member) and issubclass(member, BaseAction) and member is not BaseAction:
        return member
    return None


def _where(error: BaseException, root: Path | None) -> str:
    """Return 'file:line' of the innermost frame inside the plugin."""
    place = "before any of its lines ran"
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if root is not None and file.is_relative_to(root):
            place = f"{file.relative_to(root)}:{trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}:{error.lineno}"
    return place
