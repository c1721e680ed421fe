"""A plugin looked at from the inside: its actions by config and import, and whose code is whose."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synapse_core import BaseAction, NoResult, PluginDiscovery, RuntimeContext, run_plugin
from synapse_core.discovery import introduced, load_action
from synapse_core.enums import PluginCategory, RunMethod
from synapse_core.errors import ActionNotFoundError, InvalidConfig, MissingDependency, PluginLoadError
from synapse_core.loggers import NoOpLogger
from synapse_core.run_folder import ActionRef, RunFolder, RunRequest
from synapse_core.stop import StopSignal
from synapse_core.worker import run_request

ACTIONS = """\
from typing import Any

from pydantic import BaseModel

from synapse_core import BaseAction
from synapse_core.types import DMDataset, ModelWeights


class Params(BaseModel):
    epochs: int = 1


class Score(BaseModel):
    loss: float


class Train(BaseAction[Params]):
    result_model = Score
    input_type = DMDataset

    def execute(self):
        return {"loss": 0.5, "name": self.action_name, "category": str(self.category)}


class Test(Train):
    output_type = ModelWeights


class Own(Train):
    action_name = "its_own"
    category = "custom"


not_an_action = 3
"""

CONFIG = """\
name: Shapes
code: shapes
category: neural_net
data_type: image
actions:
  train: {{entrypoint: '{module}.actions:Train', method: job}}
  test: {{entrypoint: {module}.actions.Test, output_type: result}}
  own: {{entrypoint: '{module}.actions:Own', input_type: dataset}}
  again: {{entrypoint: '{module}.actions:Train'}}
  none: {{description: Not written yet}}
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the path and the modules of this process as they were."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if "plugin" in name.partition(".")[0]:
            del sys.modules[name]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A plugin with the package `shapes_plugin`."""
    files = {"config.yaml": CONFIG.format(module="shapes_plugin"), "shapes_plugin/actions.py": ACTIONS}
    return write(tmp_path / "shapes", {**files, "shapes_plugin/__init__.py": ""})


# From a folder


@pytest.mark.parametrize(
    "named", [lambda root: root, lambda root: str(root), lambda root: root / "config.yaml"]
)
def test_a_plugin_is_read_from_its_folder_or_its_config(shapes: Path, named: Any):
    plugin = PluginDiscovery.from_path(named(shapes))

    assert (plugin.config.code, plugin.root) == ("shapes", shapes)
    assert plugin.list_actions() == ["train", "test", "own", "again", "none"]


def test_reading_a_plugin_imports_nothing_of_it(shapes: Path):
    plugin = PluginDiscovery.from_path(shapes)

    assert plugin.has_action("train")
    assert plugin.get_action_entrypoint("train") == "shapes_plugin.actions.Train"
    assert plugin.get_action_entrypoint("test") == "shapes_plugin.actions.Test"
    assert plugin.get_action_method("train") is RunMethod.JOB
    assert plugin.get_action_method("again") is RunMethod.TASK
    assert plugin.get_action_config("none").description == "Not written yet"
    assert not [name for name in sys.modules if name.startswith("shapes_plugin")]


def test_a_folder_without_a_config_is_told(tmp_path: Path):
    with pytest.raises(InvalidConfig, match=r"no file .*config\.yaml"):
        PluginDiscovery.from_path(tmp_path)
    with pytest.raises(InvalidConfig):
        PluginDiscovery.from_path(tmp_path / "nowhere")


def test_an_action_that_is_not_there_names_those_that_are(shapes: Path):
    plugin = PluginDiscovery.from_path(shapes)

    assert not plugin.has_action("trian")
    for ask in (plugin.get_action_config, plugin.get_action_method, plugin.get_action_class):
        with pytest.raises(ActionNotFoundError, match=r"it has train, test.*Did you mean train"):
            ask("trian")


def test_an_action_without_an_entrypoint_says_what_to_add(shapes: Path):
    with pytest.raises(PluginLoadError, match="'none' of plugin 'shapes' has no entrypoint") as caught:
        PluginDiscovery.from_path(shapes).get_action_class("none")
    assert "actions.none.entrypoint" in str(caught.value.hint)


def test_an_actions_models_and_types_are_those_of_its_class_and_then_of_its_config(shapes: Path):
    plugin = PluginDiscovery.from_path(shapes)

    assert plugin.get_action_params_model("train").__name__ == "Params"
    assert plugin.get_action_result_model("train").__name__ == "Score"
    assert (plugin.get_action_input_type("train"), plugin.get_action_output_type("train")) == (
        "dm_dataset",
        None,
    )
    assert plugin.get_action_output_type("test") == "model_weights"
    assert plugin.get_action_input_type("own") == "dm_dataset"


def test_a_class_is_imported_once(shapes: Path):
    plugin = PluginDiscovery.from_path(shapes)

    assert plugin.get_action_class("train") is plugin.get_action_class("train")


# Names and categories


def test_a_class_without_a_name_and_a_category_has_those_of_its_config(shapes: Path):
    found = PluginDiscovery.from_path(shapes).get_action_class("train")

    assert (found.action_name, found.category) == ("train", "neural_net")


def test_a_class_that_bears_a_name_and_a_category_keeps_them(shapes: Path):
    found = PluginDiscovery.from_path(shapes).get_action_class("own")

    assert (found.action_name, found.category) == ("its_own", "custom")


@pytest.mark.parametrize("order", [["train", "test"], ["test", "train"]])
def test_a_subclass_bears_its_own_name_whatever_was_asked_for_before(shapes: Path, order: list[str]):
    plugin = PluginDiscovery.from_path(shapes)

    assert [plugin.get_action_class(action).action_name for action in order] == order


def test_one_class_for_two_actions_bears_the_name_of_the_one_that_is_asked_for(shapes: Path):
    plugin = PluginDiscovery.from_path(shapes)

    for action in ("train", "again", "train"):
        assert plugin.get_action_class(action).action_name == action


def test_a_name_that_a_base_class_states_is_handed_on():
    class Stated(BaseAction[Any]):
        action_name = "stated"

    class Below(Stated):
        pass

    assert introduced(Below, "config_key", "export").action_name == "stated"
    assert Below.category == "export"
    assert Stated.category is None


def test_a_recorded_run_knows_its_name_and_category_too(shapes: Path, tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    folder.artifacts.mkdir(parents=True)
    reference = ActionRef("train", "shapes_plugin.actions:Train", category="neural_net")
    request = RunRequest(run_id="run", plugin="shapes", root=str(shapes), actions=(reference,))

    ended = run_request(folder, request, StopSignal())

    assert ended.result == {"loss": 0.5, "name": "train", "category": "neural_net"}  # type: ignore[union-attr]


# Code that does not load


@pytest.mark.parametrize(
    ("entrypoint", "source", "words"),
    [
        (
            "broken_plugin:A",
            "import a_package_that_nobody_has\n",
            "'a_package_that_nobody_has', which is not installed",
        ),
        ("broken_plugin:A", "x = 1\n1 / 0\n", r"ZeroDivisionError: division by zero \(broken_plugin\.py:2\)"),
        ("broken_plugin:A", "def f(:\n", r"SyntaxError: .*\(broken_plugin\.py:1\)"),
        ("broken_plugin:A", "import sys\nsys.exit(3)\n", r"SystemExit: 3 \(broken_plugin\.py:2\)"),
        (
            "broken_plugin:A",
            "from os import nothing_such\n",
            "ImportError: cannot import name 'nothing_such'",
        ),
        ("broken_plugin:A", "", "is not an action: the module has no 'A'"),
        ("broken_plugin:A", "A = 3\n", "'broken_plugin:A' of plugin 'broken' is not an action"),
        ("broken_plugin:A", "class A: pass\n", "is not an action"),
        ("broken_plugin:BaseAction", "from synapse_core import BaseAction\n", "is not an action"),
        ("nowhere_plugin:A", "", "has no module 'nowhere_plugin'"),
        ("broken_plugin.deep:A", "", "has no module 'broken_plugin.deep'|'broken_plugin' is not a package"),
    ],
)
def test_code_that_does_not_load_is_told_by_cause_and_place(
    tmp_path: Path, entrypoint: str, source: str, words: str
):
    write(tmp_path, {"config.yaml": "", "broken_plugin.py": source})

    with pytest.raises(PluginLoadError, match=words) as caught:
        load_action(entrypoint, tmp_path, "broken")
    assert caught.value.hint


def test_a_missing_package_is_told_apart_from_a_missing_module(tmp_path: Path):
    write(tmp_path, {"broken_plugin.py": "import a_package_that_nobody_has.inner\n"})

    with pytest.raises(MissingDependency) as caught:
        load_action("broken_plugin:A", tmp_path, "broken")
    assert caught.value.details == {"module": "a_package_that_nobody_has"}


def test_the_actions_that_a_module_does_have_are_named(shapes: Path):
    with pytest.raises(PluginLoadError) as caught:
        load_action("shapes_plugin.actions:Trian", shapes, "shapes")
    assert "the module has Train, Test, Own" in str(caught.value.hint)


# Whose code is whose

WHO = """\
from plugin.inner import WHO

from synapse_core import BaseAction


class Who(BaseAction[dict]):
    def execute(self):
        from plugin.late import LATE
        return [WHO, LATE]
"""


def who(root: Path, name: str, package: str = "plugin") -> Path:
    """A plugin that tells its own name, once when it is imported and once when it runs."""
    files = {
        "config.yaml": f"name: {name}\ncode: {name}\nactions:\n  who: {{entrypoint: '{package}.main:Who'}}\n"
    }
    files[f"{package}/main.py"] = WHO.replace("plugin.", f"{package}.")
    files[f"{package}/inner.py"] = f"WHO = {name!r}\n"
    files[f"{package}/late.py"] = f"LATE = {name!r}\n"
    return write(root / name, files)


@pytest.mark.parametrize("has_init", [True, False])
def test_plugins_whose_packages_share_a_name_do_not_mix_in_one_process(tmp_path: Path, has_init: bool):
    plugins = {name: who(tmp_path, name) for name in ("one", "two", "three")}
    if has_init:
        for root in plugins.values():
            (root / "plugin" / "__init__.py").touch()

    for name in ("one", "two", "three", "one", "two"):
        assert run_plugin(plugins[name], "who", env={}) == [name, name]


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_package_of_which_nothing_else_was_loaded_is_in_nobodys_way(tmp_path: Path, is_gone: bool):
    bare = who(tmp_path, "bare")
    (bare / "plugin" / "main.py").unlink()
    with pytest.raises(PluginLoadError):
        PluginDiscovery.from_path(bare).get_action_class("who")
    assert "plugin" in sys.modules
    if is_gone:
        shutil.rmtree(bare)
    full = who(tmp_path, "full")
    (full / "plugin" / "__init__.py").touch()

    assert run_plugin(full, "who", env={}) == ["full", "full"]


def test_a_class_that_was_loaded_keeps_its_own_code_after_another_plugin_came(tmp_path: Path):
    one = PluginDiscovery.from_path(who(tmp_path, "one")).get_action_class("who")
    PluginDiscovery.from_path(who(tmp_path, "two")).get_action_class("who")

    assert sys.modules["plugin.inner"].WHO == "two"
    assert one.execute.__globals__["WHO"] == "one"


def test_a_plugin_lacks_what_only_another_one_has(tmp_path: Path):
    who(tmp_path, "one")
    two = who(tmp_path, "two")
    (two / "plugin" / "inner.py").unlink()
    PluginDiscovery.from_path(tmp_path / "one").get_action_class("who")

    with pytest.raises(PluginLoadError, match=r"plugin\.inner"):
        PluginDiscovery.from_path(two).get_action_class("who")


def test_a_plugins_folder_can_be_its_package(tmp_path: Path):
    for home, value in (("a", 1), ("b", 2)):
        files = {"__init__.py": "", "main.py": ACTIONS + f"VALUE = {value}\n"}
        config = "name: S\ncode: s\nactions:\n  train: {entrypoint: 'selfsame_plugin.main:Train'}\n"
        write(tmp_path / home / "selfsame_plugin", {**files, "config.yaml": config})

    for home, value in (("a", 1), ("b", 2), ("a", 1)):
        found = PluginDiscovery.from_path(tmp_path / home / "selfsame_plugin").get_action_class("train")
        loaded = sys.modules[found.__module__]
        assert value == loaded.VALUE


def test_a_plugin_comes_before_whatever_else_is_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "elsewhere", {"plugin/main.py": "raise RuntimeError('the wrong one')\n"})
    one = who(tmp_path, "one")
    monkeypatch.syspath_prepend(str(one))
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))

    assert run_plugin(one, "who", env={}) == ["one", "one"]


def test_modules_that_are_no_plugins_stay_loaded(tmp_path: Path):
    write(tmp_path, {"config.yaml": "", "json/__init__.py": "", "json/main.py": ACTIONS})
    import json

    with pytest.raises(PluginLoadError):
        load_action("json.main:Train", tmp_path, "shadow")

    assert sys.modules["json"] is json


def test_an_edit_within_the_same_second_is_seen_by_the_next_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Python itself compares a source with its bytecode by whole seconds."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    one = who(tmp_path, "one")
    inner = one / "plugin" / "inner.py"
    second = 1_700_000_000 * 10**9
    os.utime(inner, ns=(second, second))
    assert run_plugin(one, "who", env={}) == ["one", "one"]
    (compiled,) = (one / "plugin" / "__pycache__").glob("inner.*.pyc")
    os.utime(compiled, ns=(second + 1, second + 1))

    inner.write_text("WHO = 'ONE'\n")
    os.utime(inner, ns=(second + 2, second + 2))
    for name in [name for name in sys.modules if name.partition(".")[0] == "plugin"]:
        del sys.modules[name]

    assert run_plugin(one, "who", env={}) == ["ONE", "one"]


# From a module

MODULE = """\
from synapse_core import BaseAction, action


class Named(BaseAction[dict]):
    action_name = "named"

    def execute(self):
        return "named"


class Unnamed(BaseAction[dict]):
    pass


@action(name="added")
def add(params, context):
    return "added"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    write(tmp_path, {"some_plugin_actions.py": MODULE})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(DeprecationWarning):
        return importlib.import_module("some_plugin_actions")


def test_a_modules_functions_and_named_classes_are_its_actions(module: types.ModuleType):
    plugin = PluginDiscovery.from_module(module)

    assert plugin.list_actions() == ["named", "added"]
    assert plugin.get_action_class("named") is module.Named
    assert plugin.get_action_class("added") is module.add._action_class
    assert (plugin.config.code, plugin.config.category) == ("some_plugin_actions", PluginCategory.CUSTOM)
    assert plugin.get_action_entrypoint("named") == "some_plugin_actions.Named"
    assert plugin.get_action_result_model("named") is NoResult
    assert plugin.get_action_class("added").dispatch({}, RuntimeContext(NoOpLogger())) == "added"


@pytest.mark.usefixtures("module")
def test_a_module_may_be_given_by_name_and_called_something_else():
    plugin = PluginDiscovery.from_module(
        "some_plugin_actions", name="My Shapes", category=PluginCategory.EXPORT
    )

    assert (plugin.config.name, plugin.config.code) == ("My Shapes", "my-shapes")
    assert plugin.get_action_class("named").category == "export"


def test_what_a_module_only_imports_is_not_its_own(module: types.ModuleType):
    other = types.ModuleType("other_plugin_actions")
    vars(other).update(Named=module.Named, add=module.add, BaseAction=BaseAction)

    assert PluginDiscovery.from_module(other).list_actions() == []


def test_what_a_package_takes_over_from_its_own_modules_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    named = MODULE.partition("@action")[0]
    write(
        tmp_path,
        {
            "grouped_plugin/__init__.py": "from grouped_plugin.train import Named\n",
            "grouped_plugin/train.py": named,
            "grouped_plugin_more.py": named,
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert PluginDiscovery.from_module("grouped_plugin").list_actions() == ["named"]


def test_a_module_that_is_not_there_is_told():
    with pytest.raises(ModuleNotFoundError):
        PluginDiscovery.from_module("a_module_that_nobody_has")
