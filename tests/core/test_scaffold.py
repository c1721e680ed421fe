"""What is scaffolded works at the first try, overwrites nothing, and is there completely or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synapse_core.actions import ActionSpec, get_action_registry
from synapse_core.config import load_config
from synapse_core.enums import PluginCategory
from synapse_core.errors import Conflict, InvalidConfig, InvalidRequest, NotFound, SynapseError
from synapse_core.executors import ProcessExecutor
from synapse_core.executors.ray import RayActorExecutor, RayJobRuns
from synapse_core.registry import Registry
from synapse_core.runs import Runs
from synapse_core.runs.request import make_request
from synapse_core.scaffold import add_action, create_plugin

CATEGORIES = [category for category in PluginCategory if get_action_registry().has_category(category)]
BASE_FILES = {
    *("config.yaml", "README.md", "pyproject.toml", "requirements.txt", ".gitignore", ".synapseignore"),
    "plugin/__init__.py",
}


def specs() -> list[ActionSpec]:
    return get_action_registry().list_all_actions()


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin for each category, with all of its actions; its code is the category."""
    folder = tmp_path_factory.mktemp("plugins")
    for category in CATEGORIES:
        create_plugin(category.value, category, folder)
    return folder


@pytest.fixture(scope="module")
def searched(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry([everything], tmp_path_factory.mktemp("descriptions"))
    yield registry
    registry.close()


# What there is


def test_every_category_has_templates_and_one_of_them_is_the_primary_one():
    for category in CATEGORIES:
        known = get_action_registry().list_actions(category)
        assert [spec.is_primary for spec in known].count(True) == 1, category
        assert get_action_registry().get_primary_action(category).is_primary


def test_a_specification_tells_where_its_template_is_and_what_it_becomes():
    train = get_action_registry().get_action("neural_net", "train")

    assert train.template_path == "neural_net/plugin/train.py.tmpl"
    assert train.entrypoint == "plugin.train.TrainAction"
    assert train.output_file == "plugin/train.py"
    assert get_action_registry().get_entrypoint("neural_net", "train") == train.entrypoint
    assert get_action_registry().get_class_name("neural_net", "train") == "TrainAction"


def test_no_two_templates_bear_one_name():
    assert len({spec.name for spec in specs()}) == len(specs())


def test_what_is_not_there_is_told_with_what_is():
    with pytest.raises(NotFound, match=r"Did you mean neural_net\?"):
        get_action_registry().list_actions("neural_nets")
    with pytest.raises(NotFound, match=r"it has .*train.*Did you mean train"):
        get_action_registry().get_action("neural_net", "trian")


def test_importing_the_names_of_actions_imports_no_dataset():
    code = "import sys, synapse_core.actions as a; a.ActionSpec; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "synapse_core.actions.spec" in done.stdout.split()
    assert not {"numpy", "synapse_core.datasets", "ray", "sqlalchemy"} & set(done.stdout.split())


# What is written works


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_plugin_has_its_files_and_loads_without_a_complaint(
    category: PluginCategory, everything: Path, searched: Registry
):
    wanted = {spec.name for spec in get_action_registry().list_actions(category)}
    root = everything / category

    assert set(files_of(root)) >= BASE_FILES | {f"plugin/{name}.py" for name in wanted}
    assert set(files_of(root)) >= {f"tests/test_{name}.py" for name in wanted}
    assert load_config(root).issues == ()
    description = searched.describe(category.value)
    assert description.issues == ()
    assert {spec.name for spec in description.actions} == wanted
    assert all(spec.params_schema["properties"] for spec in description.actions)


def test_the_tests_that_are_written_pass(everything: Path, home: Path, tmp_path: Path):
    """In one child for all plugins, which also shows that they do not get in each other's way."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--import-mode=importlib",
            "-p",
            "no:cacheprovider",
            *CATEGORIES,
        ],
        cwd=everything,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{2 * len(specs())} passed" in done.stdout


def test_every_action_runs_without_parameters(everything: Path, searched: Registry, home: Path):
    runs = Runs(home, {"local": ProcessExecutor()})
    wanted = [(spec.category.value, spec.name) for spec in specs() if not spec.needs_cluster]
    ended = _run_all(runs, searched, wanted, "local")
    runs.close()

    for run in ended:
        assert run.state.value == "succeeded", f"{run.plugin}/{run.action}: {run.failure}"
        assert run.metrics, f"{run.action} tells no metrics"
        assert run.progress.fraction == 1.0, f"{run.action} tells no progress"


@pytest.mark.ray
@pytest.mark.parametrize("mode", ["task", "job"])
def test_actions_run_on_ray_without_parameters(mode: str, cluster, searched: Registry, home: Path):
    executors = {"local": ProcessExecutor()}
    executors |= (
        {"task": RayActorExecutor(cluster=cluster)} if mode == "task" else {"job": RayJobRuns(cluster)}
    )
    runs = Runs(home, executors)
    wanted = [
        ("neural_net", "train"),
        ("neural_net", "convert"),
        ("custom", "main"),
        ("smart_tool", "auto_label"),
    ]
    ended = _run_all(runs, searched, wanted if mode == "task" else wanted[:2], mode)
    runs.close()

    assert {run.state.value for run in ended} == {"succeeded"}, [run.failure for run in ended]


def _run_all(runs: Runs, registry: Registry, wanted: list[tuple[str, str]], mode: str) -> list:
    begun = []
    for plugin, action in wanted:
        run, _ = runs.submit(make_request(registry, plugin, action, {}, mode=mode, modes=runs.modes))
        runs.start(run.run_id)
        begun.append(run.run_id)
    return [runs.wait(run_id, 120) for run_id in begun]


def test_what_one_action_saves_the_next_ones_read(everything: Path, tmp_path: Path, monkeypatch):
    from synapse_core import run_plugin

    monkeypatch.chdir(tmp_path)
    data = tmp_path / "points.csv"
    data.write_text("".join(f"{x},{-x},{int(x > 0)}\n" for x in (-3, -2, -1, 1, 2, 3)))
    root = everything / "neural_net"

    trained = run_plugin(root, "train", {"data_path": str(data), "epochs": 30})
    tested = run_plugin(root, "test", {"model_id": trained.model_id, "data_path": str(data)})
    model, inputs = trained.model_id, [[4, -4], [-4, 4]]
    answered = run_plugin(root, "inference", {"model_id": model, "inputs": inputs})
    again = run_plugin(root, "train", {"data_path": str(data), "epochs": 1, "checkpoint": model})

    assert tested.metrics["accuracy"] == again.train_metrics["accuracy"] == 1.0
    assert again.model_id > model
    assert [one["label"] for one in answered.predictions] == [1, 0]


def test_what_is_uploaded_and_annotated_is_exported(everything: Path, home: Path, tmp_path: Path):
    from synapse_core import run_plugin
    from synapse_core.backend import NewTask
    from synapse_core.backend.local import LocalBackend

    uploaded = run_plugin(everything / "upload", "upload")
    backend = LocalBackend(home)
    project = backend.create_project("animals", uploaded["data_collection"])
    units = list(backend.list_data_units({"data_collection": uploaded["data_collection"]}))
    tasks = backend.create_tasks(project.id, [NewTask(data_unit=unit.id) for unit in units])
    box = {"id": "a", "classification": "cat", "attrs": [], "data": [1, 2, 3, 4]}
    document = {"classification": {"bounding_box": ["cat"]}, "images": [{"bounding_box": [box]}]}
    for task in tasks:
        backend.annotate_task_data(task.id, {"action": "submit", "data": document})
    backend.close()

    exported = run_plugin(everything / "export", "export")

    assert (exported["exported_count"], exported["failed_count"]) == (2, 0)
    folder = Path(exported["output_path"].removeprefix("file://"))
    written = json.loads((folder / "labels" / "cat.json").read_text())
    assert written["annotations"] == [{"tool": "bounding_box", "class": "cat", "data": [1, 2, 3, 4]}]
    assert (folder / "origin_files" / "cat.txt").read_text() == "A cat sleeps in the sun.\n"


def test_tasks_are_annotated_from_their_pictures(everything: Path, home: Path, tmp_path: Path):
    from PIL import Image

    from synapse_core import run_plugin
    from synapse_core.backend import NewTask
    from synapse_core.backend.local import LocalBackend

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        picture = Image.new("L", (60, 40), 10)
        picture.paste(250, (10, 10, 30 + number, 20))
        picture.save(pictures / f"{number}.png")
    uploaded = run_plugin(everything / "upload", "upload", {"path": str(pictures)})
    backend = LocalBackend(home)
    project = backend.create_project("boxes", uploaded["data_collection"])
    units = list(backend.list_data_units({"data_collection": uploaded["data_collection"]}))
    backend.create_tasks(project.id, [NewTask(data_unit=unit.id) for unit in units])

    result = run_plugin(everything / "pre_annotation", "add_task_data")

    assert (result["success_count"], result["failed_count"]) == (2, 0), result
    found = [
        one.data["images"][0]["bounding_box"] for one in backend.list_assignments({"project": project.id})
    ]
    backend.close()
    assert sorted(boxes[0]["data"] for boxes in found) == [[10, 10, 20, 10], [10, 10, 21, 10]]


def test_an_action_of_a_name_of_its_own_is_made_from_a_template(tmp_path: Path, home: Path):
    made = create_plugin("words", path=tmp_path, actions=["count_words", "fit=train"])

    assert made.actions == ("count_words", "fit")
    entries = load_config(made.path).config.actions
    assert entries["count_words"].entrypoint == "plugin.count_words:CountWordsAction"
    assert entries["fit"].entrypoint == "plugin.fit:FitAction"
    registry = Registry([tmp_path], home / "cache")
    assert registry.describe("words").issues == ()
    registry.close()


def test_names_are_written_as_they_are_whatever_is_in_them(tmp_path: Path):
    name = "Näme: 'a' \"b\" # {x} $code \\n"

    made = create_plugin("odd", path=tmp_path, name=name, description="true")

    assert load_config(made.path).config.name == name
    assert load_config(made.path).config.description == "true"


def test_it_goes_into_the_home_where_no_path_is_given(home: Path):
    made = create_plugin("mine")

    assert made.path == (home / "plugins" / "mine").resolve()
    assert made.next == 'run_action(plugin="mine", action="main")'


# What is refused


@pytest.mark.parametrize(
    "code",
    [
        "",
        "Mine",
        "a b",
        "../up",
        "a/b",
        "a\\b",
        ".hidden",
        "-x",
        "ünï",
        "x" * 64,
        "a\nb",
        "a\0",
        "con",
        "plugin",
    ],
)
def test_a_code_that_cannot_be_is_refused_before_anything_is_written(code: str, tmp_path: Path):
    with pytest.raises(InvalidRequest) as told:
        create_plugin(code, path=tmp_path)

    assert told.value.hint
    assert list(tmp_path.iterdir()) == [tmp_path / "home"] or not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"category": "custm"}, NotFound, "Did you mean custom"),
        ({"category": "neural_net", "actions": ["trian"]}, NotFound, "Did you mean train"),
        ({"actions": ["count=trian"]}, NotFound, "Did you mean train"),
        ({"actions": ["import"]}, InvalidRequest, "cannot be an action's name"),
        ({"actions": ["../x"]}, InvalidRequest, "cannot be an action's name"),
        ({"actions": ["model"]}, InvalidRequest, "none of model"),
        ({"name": "two\nlines"}, InvalidRequest, "one line"),
        ({"name": " "}, InvalidRequest, "one line"),
        ({"taken": {"mine": Path("elsewhere")}}, Conflict, "belongs to the plugin in elsewhere"),
    ],
)
def test_what_cannot_be_written_is_told(
    arguments: dict, kind: type[SynapseError], words: str, tmp_path: Path
):
    with pytest.raises(kind, match=words):
        create_plugin("mine", path=tmp_path / "plugins", **arguments)

    assert not (tmp_path / "plugins").exists()


def test_what_stands_there_is_named_and_stays(tmp_path: Path):
    made = create_plugin("mine", path=tmp_path)
    before = files_of(made.path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for code, words in [
        ("mine", "the plugin 'Mine' with main"),
        ("other", "a folder with notes.txt"),
        ("file", "a file"),
        ("link", "a link to"),
    ]:
        with pytest.raises(Conflict, match=words):
            create_plugin(code, path=tmp_path)

    assert files_of(made.path) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_code_of_a_plugin_beside_it_is_taken_whatever_its_folder_is_called(tmp_path: Path):
    create_plugin("mine", path=tmp_path).path.rename(tmp_path / "renamed")

    with pytest.raises(Conflict, match="renamed"):
        create_plugin("mine", path=tmp_path)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidRequest, match="cannot be written"):
        create_plugin("mine", path=tmp_path / "file")


# One more action

ENTRY = """\
  train:
    description: "Fit a classifier, report loss and accuracy for each epoch, and register the model."
    entrypoint: plugin.train:TrainAction
    method: local
"""
HEAD = "name: Mine\ncode: mine  # a comment\n"
MAIN = "actions:\n  main:\n    # what it is\n    entrypoint: 'plugin.main:MainAction'\n"


def deeper(entry: str) -> str:
    return entry.replace("    ", "      ").replace("  train", "    train")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + MAIN, HEAD + MAIN + ENTRY),
        (HEAD + MAIN.rstrip(), HEAD + MAIN + ENTRY),
        (MAIN + "\n# about the name\n" + HEAD, MAIN + ENTRY + "\n# about the name\n" + HEAD),
        (HEAD + MAIN + "    # its own\n\n", HEAD + MAIN + "    # its own\n" + ENTRY + "\n"),
        (HEAD, HEAD + "actions:\n" + ENTRY),
        (HEAD + "actions: {}  # none\n", HEAD + "actions:  # none\n" + ENTRY),
        ("actions:\n\n" + HEAD, "actions:\n" + ENTRY + "\n" + HEAD),
        (HEAD + MAIN + "...\n", HEAD + MAIN + ENTRY + "...\n"),
        (HEAD + MAIN.replace("  ", "    "), HEAD + MAIN.replace("  ", "    ") + deeper(ENTRY)),
        ((HEAD + MAIN).replace("\n", "\r\n"), (HEAD + MAIN + ENTRY).replace("\n", "\r\n")),
    ],
)
def test_an_added_action_leaves_every_other_byte_of_the_config(before: str, after: str, tmp_path: Path):
    made = create_plugin("mine", path=tmp_path)
    (made.path / "config.yaml").write_bytes(before.encode())

    added = add_action(made.path, "train")

    assert (made.path / "config.yaml").read_bytes().decode() == after
    assert added.next == 'run_action(plugin="mine", action="train")'
    assert set(added.files) == {"config.yaml", "plugin/train.py", "plugin/model.py", "tests/test_train.py"}
    assert load_config(made.path).config.actions["train"].entrypoint == "plugin.train:TrainAction"


@pytest.mark.parametrize(
    "actions",
    [
        "actions: {main: {entrypoint: 'plugin.main:MainAction'}}\n",
        "actions: {\n  main: {entrypoint: 'plugin.main:MainAction'},\n}\n",
        "actions:\n  main:\n    description: |+\n      text\n\n\n",
    ],
)
def test_a_config_without_a_certain_place_stays_and_the_lines_are_told(actions: str, tmp_path: Path):
    made = create_plugin("mine", path=tmp_path)
    (made.path / "config.yaml").write_text(HEAD + actions)
    before = files_of(made.path)

    with pytest.raises(InvalidRequest) as told:
        add_action(made.path, "train")

    assert "    entrypoint: plugin.train:TrainAction" in told.value.hint
    assert files_of(made.path) == before


def test_an_added_action_runs(tmp_path: Path, home: Path):
    made = create_plugin("mine", path=tmp_path)
    (made.path / "plugin.py").unlink(missing_ok=True)
    registry = Registry([tmp_path], home / "cache")
    add_action(made.path, "inference", check=registry.spec)
    registry.close()
    runs = Runs(home, {"local": ProcessExecutor()})

    (run,) = _run_all(runs, registry, [("mine", "inference")], "local")
    runs.close()
    registry.close()

    assert run.result["processed_count"] == 2


def test_a_plugin_of_another_layout_gets_the_package_that_it_lacks(tmp_path: Path, home: Path):
    root = tmp_path / "flat"
    root.mkdir()
    (root / "config.yaml").write_text("name: Flat\ncode: flat\nactions:\n  one:\n    entrypoint: one:One\n")
    (root / "one.py").write_text(
        "from synapse_core import BaseAction\nclass One(BaseAction):\n    def execute(self): return 1\n"
    )

    added = add_action(root, "count")

    assert "plugin/__init__.py" in added.files
    registry = Registry([tmp_path], home / "cache")
    assert registry.describe("flat").issues == ()
    registry.close()


def test_an_action_that_does_not_load_is_taken_back(tmp_path: Path, home: Path):
    made = create_plugin("mine", path=tmp_path, actions=["count"])
    (made.path / "plugin" / "model.py").write_text("nothing = 'that train needs'\n")
    before = files_of(made.path)
    registry = Registry([tmp_path], home / "cache")

    with pytest.raises(SynapseError, match="cannot be run"):
        add_action(made.path, "train", check=registry.spec)
    registry.close()

    assert files_of(made.path) == before


def test_an_action_or_a_file_that_is_there_is_never_replaced(tmp_path: Path):
    made = create_plugin("mine", path=tmp_path)
    (made.path / "plugin" / "rank.py").write_text("mine = True\n")
    before = files_of(made.path)

    with pytest.raises(Conflict, match="has an action 'main' already"):
        add_action(made.path, "main")
    with pytest.raises(Conflict, match=r"rank\.py is there already"):
        add_action(made.path, "rank")

    assert files_of(made.path) == before


def test_a_broken_plugin_gets_no_action(tmp_path: Path):
    made = create_plugin("mine", path=tmp_path)
    (made.path / "config.yaml").write_text("name: [\n")

    with pytest.raises(InvalidConfig):
        add_action(made.path, "train")


# Killed in between

KILLING = """
import json, os, shutil, signal, sys
from pathlib import Path
from synapse_core.scaffold import add_action, create_plugin

# Killed before the n-th thing that it does to the disk, for every n: what is there, and can it be done then?
base, work, again = Path(sys.argv[1]), sys.argv[2], []
countdown = [None]

def hook(event, arguments):
    if countdown[0] is not None and event in ("open", "os.mkdir", "os.link", "os.rename", "os.remove"):
        if str(arguments[0]).startswith(str(base)):
            countdown[0] -= 1
            if not countdown[0]:
                os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)

def do(place):
    if work == "create":
        return create_plugin("mine", "neural_net", place, actions=["train", "test"])
    return add_action(place / "mine", "train")

for number in range(1, 1000):
    place = base / str(number)
    place.mkdir()
    if work == "add":
        create_plugin("mine", path=place)
    child = os.fork()
    if not child:
        countdown[0] = number
        do(place)
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
    mine = place / "mine"
    found = sorted(p.relative_to(mine).as_posix() for p in mine.rglob("*") if p.is_file())
    config = mine / "config.yaml"
    text = config.read_text() if config.exists() else ""
    try:
        do(place)
        repeated = True
    except Exception as error:
        repeated = type(error).__name__
    again.append([found, text, repeated])
    shutil.rmtree(place)
print(json.dumps(again))
"""


@pytest.mark.parametrize("work", ["create", "add"])
def test_a_kill_at_any_moment_leaves_nothing_half_done(work: str, tmp_path: Path):
    place = tmp_path / "killed"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLING, str(place), work],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)

    assert len(states) > 10, "it was killed in the middle, again and again"
    complete = create_plugin("mine", "neural_net", tmp_path / "whole", actions=["train", "test"])
    for files, config, repeated in states:
        if work == "create":
            assert files in ([], sorted(complete.files))
            assert repeated is True or (files and repeated == "Conflict")
        else:
            is_there = "plugin.train:TrainAction" in config
            assert repeated == ("Conflict" if is_there else True), config
            assert not is_there or {"plugin/train.py", "plugin/model.py"} <= set(files)
