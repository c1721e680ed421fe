"""What a config.yaml may say, and what its author is told where it says something else."""

import json
import random
import string
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from synapse_core import yaml_lines
from synapse_core.config import (
    MAX_ISSUES,
    ActionConfig,
    ConfigIssue,
    LoadedConfig,
    PluginConfig,
    Requires,
    Resources,
    load_config,
)
from synapse_core.enums import (
    AnnotationCategory,
    AnnotationType,
    DataType,
    PackageManager,
    PluginCategory,
    RunMethod,
    SmartToolType,
)
from synapse_core.errors import InvalidConfig

Load = Callable[[str | bytes], LoadedConfig]

HEAD = "name: Hello\ncode: hello\n"

SEED_EXAMPLE = """\
# my_plugin/config.yaml
name: My Plugin
code: my_plugin
version: 0.1.0
category: neural_net

actions:
  train:
    name: Train Model
    description: Train a model with custom parameters
    entrypoint: my_plugin.actions:TrainAction
    method: task

  export:
    name: Export Model
    description: Export model to various formats
    entrypoint: my_plugin.actions:ExportAction
    method: local

  infer:
    name: Run Inference
    description: Run batch inference
    entrypoint: my_plugin.actions:InferAction
    method: job
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a config.yaml of this text and load it."""

    def write_and_load(source: str | bytes) -> LoadedConfig:
        data = source if isinstance(source, bytes) else source.encode()
        (tmp_path / "config.yaml").write_bytes(data)
        return load_config(tmp_path)

    return write_and_load


@pytest.fixture
def refuse(load: Load) -> Callable[[str | bytes], InvalidConfig]:
    """Load a config.yaml of this text and return the error that it must raise."""

    def load_and_catch(source: str | bytes) -> InvalidConfig:
        with pytest.raises(InvalidConfig) as caught:
            load(source)
        return caught.value

    return load_and_catch


Refuse = Callable[[str | bytes], InvalidConfig]


@pytest.fixture(params=["libyaml", "pure python"])
def either_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML can be built without libyaml; what is refused must not depend on it."""
    if request.param == "pure python":
        monkeypatch.setattr(yaml_lines, "_LOADER", yaml.SafeLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML has no libyaml")


def test_the_example_of_the_action_guide_loads(load: Load, tmp_path: Path) -> None:
    loaded = load(SEED_EXAMPLE)

    assert loaded.path == tmp_path / "config.yaml"
    assert loaded.config.code == "my_plugin"
    assert loaded.config.category is PluginCategory.NEURAL_NET
    assert list(loaded.config.actions) == ["train", "export", "infer"]
    assert loaded.config.actions["train"] == ActionConfig(
        name="Train Model",
        description="Train a model with custom parameters",
        entrypoint="my_plugin.actions:TrainAction",
        method=RunMethod.TASK,
    )
    assert [action.method for action in loaded.config.actions.values()] == ["task", "local", "job"]


def test_the_example_is_warned_of_its_missing_data_type_only(load: Load) -> None:
    (issue,) = load(SEED_EXAMPLE).issues

    assert (issue.severity, issue.key, issue.line) == ("warning", "data_type", 1)
    assert "one of image, text, video, pcd, audio, data" in issue.message


def test_a_file_is_loaded_by_its_own_path_too(load: Load, tmp_path: Path) -> None:
    assert load(HEAD) == load_config(tmp_path / "config.yaml")


def test_name_and_code_are_all_a_plugin_needs(load: Load) -> None:
    loaded = load(HEAD)

    assert loaded.issues == ()
    assert loaded.config.model_dump() == {
        "name": "Hello",
        "code": "hello",
        "version": "0.1.0",
        "variant": None,
        "category": PluginCategory.CUSTOM,
        "description": "",
        "readme": "README.md",
        "package_manager": PackageManager.PIP,
        "package_manager_options": [],
        "wheels_dir": "wheels",
        "env": {},
        "runtime_env": {},
        "data_type": None,
        "tasks": [],
        "supported_data_types": [],
        "supported_annotation_tools": {},
        "annotation_category": None,
        "annotation_type": None,
        "smart_tool": None,
        "requires": {"sdk": None, "python": None, "cuda": None},
        "dependencies": {},
        "tags": [],
        "actions": {},
    }


def test_an_empty_action_gets_every_default_and_a_warning(load: Load) -> None:
    loaded = load(HEAD + "actions:\n  greet:\n")

    assert loaded.config.actions["greet"].model_dump() == {
        "name": "greet",
        "description": "",
        "entrypoint": None,
        "method": RunMethod.TASK,
        "input_type": None,
        "output_type": None,
        "resources": {"num_cpus": None, "num_gpus": None, "memory": None},
        "timeout_seconds": None,
        "strict_results": False,
        "serve_options": {},
        "hyperparameters": {},
        "ui_schema": None,
        "required_resources": {},
    }
    (issue,) = loaded.issues
    assert (issue.severity, issue.key, issue.line) == ("warning", "actions.greet", 4)
    assert "entrypoint: 'module:Class'" in issue.message


def test_every_key_is_read(load: Load) -> None:
    loaded = load(
        """\
name: Full
code: full-plugin_2
version: 2.10.3
variant: small
category: smart_tool
description: All keys
readme: docs/README.md
package_manager: uv
package_manager_options: [--no-cache]
wheels_dir: built
env: {MODE: fast}
runtime_env: {working_dir: ., env_vars: {A: "1"}}
data_type: image
tasks: [image.object_detection]
supported_data_types: [image, video]
supported_annotation_tools: {image: [polygon]}
annotation_category: image
annotation_type: bbox
smart_tool: semi_automatic
requires: {sdk: ">=1", python: ">=3.11", cuda: ">=11.8"}
dependencies: {base_plugin: ">=1.0"}
tags: [vision]
actions:
  serve:
    name: Serve it
    description: Answers requests
    entrypoint: full.serve:Serve
    method: serve
    input_type: dm_dataset
    output_type: model_weights
    resources: {num_cpus: 0.5, num_gpus: 1, memory: 2147483648}
    timeout_seconds: 90
    strict_results: true
    serve_options: {num_replicas: 2}
    hyperparameters: {train_ui_schemas: []}
    ui_schema: [{name: epochs}]
    required_resources: {gpu: 1}
"""
    )

    assert loaded.issues == ()
    assert loaded.config == PluginConfig(
        name="Full",
        code="full-plugin_2",
        version="2.10.3",
        variant="small",
        category=PluginCategory.SMART_TOOL,
        description="All keys",
        readme="docs/README.md",
        package_manager=PackageManager.UV,
        package_manager_options=["--no-cache"],
        wheels_dir="built",
        env={"MODE": "fast"},
        runtime_env={"working_dir": ".", "env_vars": {"A": "1"}},
        data_type=DataType.IMAGE,
        tasks=["image.object_detection"],
        supported_data_types=[DataType.IMAGE, DataType.VIDEO],
        supported_annotation_tools={AnnotationCategory.IMAGE: ["polygon"]},
        annotation_category=AnnotationCategory.IMAGE,
        annotation_type=AnnotationType.BBOX,
        smart_tool=SmartToolType.SEMI_AUTOMATIC,
        requires=Requires(sdk=">=1", python=">=3.11", cuda=">=11.8"),
        dependencies={"base_plugin": ">=1.0"},
        tags=["vision"],
        actions={
            "serve": ActionConfig(
                name="Serve it",
                description="Answers requests",
                entrypoint="full.serve:Serve",
                method=RunMethod.SERVE,
                input_type="dm_dataset",
                output_type="model_weights",
                resources=Resources(num_cpus=0.5, num_gpus=1, memory=2 * 2**30),
                timeout_seconds=90,
                strict_results=True,
                serve_options={"num_replicas": 2},
                hyperparameters={"train_ui_schemas": []},
                ui_schema=[{"name": "epochs"}],
                required_resources={"gpu": 1},
            )
        },
    )


@pytest.mark.parametrize(
    ("action", "method"),
    [("train", "job"), ("export", "job"), ("to_task", "job"), ("inference", "serve"), ("auto_label", "task")],
)
def test_the_method_follows_from_the_actions_key_where_it_is_absent(
    load: Load, action: str, method: str
) -> None:
    config = load(f"{HEAD}actions: {{{action}: {{name: Shown, method: , entrypoint: a:B}}}}\n").config

    assert config.actions[action].method == method


@pytest.mark.parametrize("method", ["local", "task", "job", "serve", "restapi"])
def test_every_method_is_accepted(load: Load, method: str) -> None:
    assert load(f"{HEAD}actions: {{train: {{method: {method}}}}}\n").config.actions["train"].method == method


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plugin.train:TrainAction", "plugin.train:TrainAction"),
        ("plugin.train.TrainAction", "plugin.train:TrainAction"),
        ("main:run", "main:run"),
        ("main.run", "main:run"),
        ("모듈.클래스", "모듈:클래스"),
    ],
)
def test_both_spellings_of_an_entrypoint_become_one(load: Load, written: str, read: str) -> None:
    config = load(f"{HEAD}actions: {{train: {{entrypoint: '{written}'}}}}\n").config

    assert config.actions["train"].entrypoint == read


def test_env_values_are_the_text_as_written_and_null_means_pass_it_on(load: Load) -> None:
    config = load(
        HEAD + "env:\n  A: yes\n  B: 0755\n  C: 1.10\n  D: 2024-01-01\n  E: x\n  F:\n  G: ~\n"
    ).config

    assert config.env == {
        "A": "yes",
        "B": "0755",
        "C": "1.10",
        "D": "2024-01-01",
        "E": "x",
        "F": None,
        "G": None,
    }


def test_env_scalars_given_from_python_become_text() -> None:
    config = PluginConfig.model_validate({"name": "a", "code": "a", "env": {"A": 1, "B": True, "C": 0.5}})

    assert config.env == {"A": "1", "B": "true", "C": "0.5"}


def test_a_python_version_of_3_10_is_not_3_1(load: Load) -> None:
    config = load(HEAD + "requires: {python: 3.10, cuda: 11.80}\n").config

    assert config.requires == Requires(python="3.10", cuda="11.80")


def test_the_old_name_of_supported_data_types_is_accepted(load: Load) -> None:
    loaded = load(HEAD + "supported_data_type: [image]\n")

    assert loaded.config.supported_data_types == [DataType.IMAGE]
    assert loaded.issues == ()


def test_a_key_without_a_value_counts_as_absent(load: Load) -> None:
    loaded = load(HEAD + "tags:\nenv:\nactions:\nrequires:\nversion:\n")

    assert loaded.config == PluginConfig(name="Hello", code="hello")


def test_keys_that_yaml_takes_for_something_else_are_text(load: Load) -> None:
    config = load(HEAD + "actions:\n  on: {entrypoint: a.B}\n  1: {entrypoint: a.B}\n").config

    assert [action.name for action in config.actions.values()] == ["on", "1"]


def test_merged_mappings_are_read_and_overridden_on_their_own_line(load: Load, refuse: Refuse) -> None:
    source = """\
name: Hello
code: hello
actions:
  first: &first
    entrypoint: hello.first:First
    method: local
  second:
    method: {method}
    <<: [*first, {{method: task, description: two}}]
"""

    second = load(source.format(method="job")).config.actions["second"]
    problem = refuse(source.format(method="jobb")).problems[0]

    assert (second.method, second.entrypoint, second.description) == ("job", "hello.first:First", "two")
    assert (problem["line"], problem["key"]) == (8, "actions.second.method")


@pytest.mark.usefixtures("either_loader")
def test_unicode_is_read_with_and_without_a_byte_order_mark(load: Load) -> None:
    source = "name: Größe 한국어 😀\ncode: a\nactions:\n  학습: {entrypoint: a.B}\n"

    assert load(source).config.name == "Größe 한국어 😀"
    assert load("\ufeff" + source).config.actions["학습"].name == "학습"


@pytest.mark.parametrize(
    ("source", "line", "key", "message"),
    [
        (
            "categori: x\n",
            3,
            "categori",
            "'categori' is not a known key and is ignored. Did you mean category",
        ),
        ("requires:\n  cud: x\n", 4, "requires.cud", "Did you mean cuda?"),
        ("zzz: x\n", 3, "zzz", "Known keys: name, code, version"),
        (
            "actions:\n  a:\n    entrypoint: a.B\n    metod: job\n",
            6,
            "actions.a.metod",
            "Did you mean method?",
        ),
        (
            "actions:\n  a:\n    entrypoint: a.B\n    resources:\n      num_gpu: 1\n",
            7,
            "actions.a.resources.num_gpu",
            "Did you mean num_gpus",
        ),
        ("version: 1.0\n", 3, "version", "'1.0' is not of the form X.Y.Z"),
        ("version: 1.0.0-rc1\n", 3, "version", "'1.0.0-rc1' is not of the form X.Y.Z"),
        ("category: neural_net\n", 1, "data_type", "should name one of image, text"),
        ("tasks:\n- image.x\n- imag.x\n", 5, "tasks.1", "'imag.x' is not of the form 'data_type.task'"),
        ("tasks: [image]\n", 3, "tasks.0", "'image' is not of the form 'data_type.task'"),
        ("actions:\n  a: {}\n", 4, "actions.a", "has no entrypoint"),
    ],
)
def test_a_config_that_can_be_used_loads_with_a_warning(
    load: Load, tmp_path: Path, source: str, line: int, key: str, message: str
) -> None:
    (issue,) = load(HEAD + source).issues

    assert (issue.severity, issue.file, issue.line, issue.key) == (
        "warning",
        tmp_path / "config.yaml",
        line,
        key,
    )
    assert message in issue.message


def test_the_known_keys_are_listed_once(load: Load) -> None:
    issues = load(HEAD + "qqq: 1\nzzz: 1\n").issues

    assert ["Known keys" in issue.message for issue in issues] == [True, False]


def test_warnings_come_in_the_order_of_their_lines(load: Load) -> None:
    issues = load("nam: x\n" + HEAD + "actions: {a: }\nversion: 1\ntgas: []\n").issues

    assert [issue.line for issue in issues] == [1, 4, 5, 6]


@pytest.mark.parametrize(
    ("source", "line", "key", "message"),
    [
        ("name: a\n", 1, "code", "this key is required and missing."),
        ("code: a\n", 1, "name", "this key is required and missing."),
        ("name:\ncode: a\n", 1, "name", "this key is required and missing."),
        ("name: [a]\ncode: a\n", 1, "name", "a list stands here; it should be a text"),
        (
            "name: a\ncode: My Plugin\n",
            2,
            "code",
            "'My Plugin' stands here; it should be 1 to 63 lower case letters, digits, '_' and '-', "
            "beginning with a letter or digit. Did you mean my-plugin?",
        ),
        ("name: a\ncode: -a\n", 2, "code", "Did you mean a?"),
        (f"name: a\ncode: {'a' * 64}\n", 2, "code", "1 to 63"),
        ("name: a\ncode: '../..'\n", 2, "code", "beginning with a letter or digit."),
        (
            HEAD + "category: neural_ne\n",
            3,
            "category",
            "'neural_ne' is not one of neural_net, export, upload, smart_tool, post_annotation, "
            "pre_annotation, data_validation, custom. Did you mean neural_net?",
        ),
        (HEAD + "package_manager: pipp\n", 3, "package_manager", "is not one of pip, uv. Did you mean pip?"),
        (HEAD + "data_type: 7\n", 3, "data_type", "7 is not one of image, text, video, pcd, audio, data."),
        (HEAD + "smart_tool: x\n", 3, "smart_tool", "interactive, automatic, semi_automatic."),
        (HEAD + "annotation_type: box\n", 3, "annotation_type", "Did you mean bbox?"),
        (HEAD + "annotation_category: x\n", 3, "annotation_category", "prompt, time_series."),
        (HEAD + "supported_data_type:\n- image\n- imag\n", 5, "supported_data_type.1", "Did you mean image?"),
        (
            HEAD + "supported_annotation_tools:\n  imag: [x]\n",
            4,
            "supported_annotation_tools.imag",
            "'imag' is not one of image, video, audio",
        ),
        (HEAD + "tags: vision\n", 3, "tags", "'vision' stands here; it should be a list."),
        (HEAD + "tags:\n- a\n- \n", 5, "tags.1", "nothing stands here; it should be a text"),
        (HEAD + "env: [A]\n", 3, "env", "a list stands here; it should be a mapping."),
        (HEAD + "env:\n  A: {b: c}\n", 4, "env.A", "a mapping stands here; it should be a text"),
        (HEAD + "env:\n  A=B: c\n", 4, "env.A=B", "a variable's name holds no '='"),
        (HEAD + 'env:\n  A: "a\\0b"\n', 4, "env.A", "nor its value a NUL"),
        (HEAD + "requires: x\n", 3, "requires", "'x' stands here; it should be a mapping."),
        (HEAD + "actions: [a]\n", 3, "actions", "a list stands here; it should be a mapping."),
        (HEAD + "actions:\n  a: 5\n", 4, "actions.a", "5 stands here; it should be a mapping."),
        (
            HEAD + "actions:\n  a:\n    method: tsk\n",
            5,
            "actions.a.method",
            "'tsk' is not one of local, task, job, serve, restapi. Did you mean task?",
        ),
        (
            HEAD + "actions:\n  a:\n    entrypoint: plugin/train.py:Train\n",
            5,
            "actions.a.entrypoint",
            "'plugin/train.py:Train' stands here; it should be 'module:Class' or 'module.Class'. "
            "Did you mean plugin.train:Train?",
        ),
        (HEAD + "actions:\n  a:\n    entrypoint: Train\n", 5, "actions.a.entrypoint", "'module:Class'"),
        (HEAD + "actions:\n  a:\n    entrypoint: 'a:B; x'\n", 5, "actions.a.entrypoint", "'module:Class'"),
        (
            HEAD + "actions:\n  a:\n    timeout_seconds: 0\n",
            5,
            "actions.a.timeout_seconds",
            "greater than 0.",
        ),
        (HEAD + "actions:\n  a:\n    timeout_seconds: 5s\n", 5, "actions.a.timeout_seconds", "a number."),
        (
            HEAD + "actions:\n  a:\n    timeout_seconds: .inf\n",
            5,
            "actions.a.timeout_seconds",
            "'.inf' cannot",
        ),
        (HEAD + "actions:\n  a:\n    strict_results: 1\n", 5, "actions.a.strict_results", "true or false."),
        (
            HEAD + "actions:\n  a:\n    resources:\n      num_cpus: -1\n",
            6,
            "actions.a.resources.num_cpus",
            "-1 stands here; it should be greater than or equal to 0.",
        ),
        (
            HEAD + "actions:\n  a:\n    resources:\n      num_gpus: yes\n",
            6,
            "actions.a.resources.num_gpus",
            "true stands here; it should be a number.",
        ),
        (
            HEAD + "actions:\n  a:\n    resources:\n      memory: 4\n",
            6,
            "actions.a.resources.memory",
            "4 stands here; it should be a whole number of bytes, 1048576 (1 MiB) or more.",
        ),
        (HEAD + "actions:\n  a:\n    serve_options: 2\n", 5, "actions.a.serve_options", "a mapping."),
        (HEAD + "env:\n  A: 1\n  B: 2\n  A: 3\n", 6, "env.A", "the key 'A' stands twice, on lines 4 and 6"),
        (HEAD + "name: b\n", 3, "name", "the key 'name' stands twice, on lines 1 and 3; keep one."),
        (HEAD + "? [a, b]\n: c\n", 3, "", "a key must be a text"),
        (HEAD + "<<: 5\n", 3, "", "'<<' takes a mapping or a list of mappings."),
        (HEAD + "runtime_env: {a: !!int x}\n", 3, "runtime_env.a", "'x' cannot be read as int"),
        (HEAD + "runtime_env: {a: 0b_}\n", 3, "runtime_env.a", "'0b_' cannot be read as int"),
        (HEAD + "runtime_env: {a: !!bool x}\n", 3, "runtime_env.a", "'x' cannot be read as bool"),
        ("", 1, "", "nothing stands here; it should be a mapping."),
        ("# a comment\n", 1, "", "nothing stands here; it should be a mapping."),
        ("- a\n", 1, "", "a list stands here; it should be a mapping."),
        ("hello\n", 1, "", "'hello' stands here; it should be a mapping."),
        (HEAD + "description: a: b\n", 3, "", "column 15: mapping values are not allowed"),
        (HEAD + "tags: [a\n", 4, "", "column 1: while parsing a flow sequence, "),
        (HEAD + "tags: @a\n", 3, "", "column 7: "),
        (HEAD + "actions:\n\ttrain: x\n", 4, "", "Indent with spaces, not tabs"),
        (HEAD + "---\nname: b\n", 3, "", "expected a single document"),
        (HEAD + "env: *nowhere\n", 3, "", "column 6: found undefined alias"),
        (b"name: a\ncode: \xe9\n", 2, "", "column 7: byte 0xe9 is not UTF-8; save the file as UTF-8."),
        (HEAD.encode("utf-16"), 1, "", "column 1: byte 0xff is not UTF-8"),
        (b"name: a\ncode: b\0\n", 2, "", "column 8: the control character U+0000 is not allowed."),
    ],
)
@pytest.mark.usefixtures("either_loader")
def test_a_config_that_cannot_be_used_is_refused_by_file_line_and_key(
    refuse: Refuse, tmp_path: Path, source: str | bytes, line: int, key: str, message: str
) -> None:
    error = refuse(source)

    (problem,) = [problem for problem in error.problems if problem["severity"] == "error"]
    assert (problem["file"], problem["line"], problem["key"]) == (str(tmp_path / "config.yaml"), line, key)
    assert message in problem["message"]
    assert f"- config.yaml:{line}{' ' if key else ''}{key}: {problem['message']}" in str(error)


def test_all_problems_are_told_at_once_in_a_text_that_stands_alone(refuse: Refuse, tmp_path: Path) -> None:
    error = refuse(
        """\
name: Hello
cod: hello
category: custm
tags: [!secret a]
actions:
  train:
    method: tsk
    timeout_seconds: -1
  train: {}
"""
    )

    assert str(error) == (
        "config.yaml has 7 problems:\n"
        "- config.yaml:1 code: this key is required and missing.\n"
        "- config.yaml:2 cod: (warning) 'cod' is not a known key and is ignored. Did you mean code?\n"
        "- config.yaml:3 category: 'custm' is not one of neural_net, export, upload, smart_tool, "
        "post_annotation, pre_annotation, data_validation, custom. Did you mean custom?\n"
        "- config.yaml:4 tags.0: the tag !secret is not allowed; write text, numbers, lists and mappings.\n"
        "- config.yaml:7 actions.train.method: 'tsk' is not one of local, task, job, serve, restapi. "
        "Did you mean task?\n"
        "- config.yaml:8 actions.train.timeout_seconds: -1 stands here; it should be greater than 0.\n"
        "- config.yaml:9 actions.train: the key 'train' stands twice, on lines 6 and 9; keep one."
    )
    assert error.code == "invalid_config"
    assert str(tmp_path) in str(error.hint)
    assert json.loads(json.dumps(error.details))["problems"] == error.problems


def test_one_problem_is_not_called_problems(refuse: Refuse) -> None:
    assert str(refuse("name: a\n")).startswith("config.yaml has 1 problem:\n- config.yaml:1 code: ")


def test_a_long_value_is_told_short(refuse: Refuse) -> None:
    assert len(str(refuse(HEAD + f"category: {'x' * 100_000}\n"))) < 400


def test_a_flood_of_problems_is_cut(refuse: Refuse) -> None:
    error = refuse(HEAD + "tags:\n" + "- []\n" * 1000)

    assert len(error.problems) == MAX_ISSUES
    assert str(error).startswith(f"config.yaml has {MAX_ISSUES} or more problems:")


def test_an_issue_reads_alone() -> None:
    issue = ConfigIssue("error", "this is wrong.", "actions.a", Path("plugins/a/config.yaml"), 4)

    assert str(issue) == "config.yaml:4 actions.a: this is wrong."


def test_a_missing_file_is_named_with_what_its_folder_holds(tmp_path: Path) -> None:
    for name in ["config.yml", *(f"file_{number}.py" for number in range(9))]:
        (tmp_path / name).touch()

    with pytest.raises(InvalidConfig) as caught:
        load_config(tmp_path)

    text = str(caught.value)
    assert f"There is no file {tmp_path / 'config.yaml'}; its folder holds config.yml, file_0.py" in text
    assert "and 2 more. Did you mean config.yml?" in text
    assert caught.value.problems[0]["file"] == str(tmp_path / "config.yaml")


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="its folder holds nothing"):
        load_config(tmp_path)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"and no folder .*nowhere either"):
        load_config(tmp_path / "nowhere" / "config.yaml")


def test_a_path_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be read: File name too long"):
        load_config(tmp_path / ("x" * 300))


def test_a_config_that_is_a_folder_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").mkdir()

    with pytest.raises(InvalidConfig, match=r"There is no file .*; its folder holds config\.yaml"):
        load_config(tmp_path)


def _billion_laughs() -> str:
    levels = [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 12)]
    return "l0: &l0 [lol, lol, lol]\n" + "\n".join(levels)


def _long_chain_of_merges() -> str:
    """Each link merges the one before it: a few bytes a level, and no key on the way down."""
    links = [f"l{level}: &l{level} {{<<: *l{level - 1}}}" for level in range(1, 1000)]
    return "l0: &l0 {a: b}\n" + "\n".join(links)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_billion_laughs(), "more than 20,000 values"),
        ("a: &a [*a]\n", "deeper than 50 levels"),
        ("a: &a {<<: *a}\n", "deeper than 50 levels"),
        (_long_chain_of_merges(), "deeper than 50 levels"),
        ("a: " + "[" * 500_000, "deeper than 50 levels"),
        ("a: " + "{a: " * 200_000, "deeper than 50 levels"),
        ("- " * 500_000, "deeper than 50 levels"),
        ("? " * 500_000, "deeper than 50 levels"),
        ("a:\n" + "- x\n" * 200_000, "more than 20,000 values"),
        ("a: b\n" + "#" * 2**20, "larger than 1,048,576 bytes"),
        ("timeout: " + "1:" * 100_000 + "1\n", "cannot be read as int"),
        ("timeout: " + "1" * 100_000 + "\n", "cannot be read as int"),
    ],
    ids=str.split("laughs cycle merge-cycle chain flow maps sequences keys many large base-60 digits"),
)
@pytest.mark.usefixtures("either_loader")
def test_a_yaml_bomb_is_refused_within_a_second(refuse: Refuse, source: str, message: str) -> None:
    started = time.process_time()
    error = refuse(source)
    elapsed_seconds = time.process_time() - started

    assert message in str(error)
    assert elapsed_seconds < 1


def test_a_file_just_within_the_limits_loads(load: Load) -> None:
    nested = "[" * 47 + "]" * 47
    many = "[" + "x," * 19_000 + "]"

    assert load(HEAD + f"runtime_env: {{a: {nested}}}\n").issues == ()
    assert len(load(HEAD + f"tags: {many}\n").config.tags) == 19_000


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {proof}']",
        "!!python/object/new:os.system ['touch {proof}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [a]",
        "!!binary aGVsbG8=",
        "!!set {{a}}",
        "!custom a",
        "!!str [a]",
    ],
)
@pytest.mark.parametrize("key", ["description", "env", "runtime_env", "unknown"])
@pytest.mark.usefixtures("either_loader")
def test_no_tag_makes_python_objects_or_runs_anything(
    refuse: Refuse, tmp_path: Path, key: str, value: str
) -> None:
    proof = tmp_path / "proof"

    error = refuse(HEAD + f"{key}:\n  a: {value.format(proof=proof)}\n")

    tag = value.split()[0]
    assert f"config.yaml:4 {key}.a: the tag {tag} is not allowed" in str(error)
    assert not proof.exists()


def _random_config(random_: random.Random) -> dict[str, object]:
    def word() -> str:
        letters = string.ascii_letters + string.digits + " :#-'\"\\{}[]&*!|>%@`~,äß한\n\t😀"
        special = random_.choice(
            ["yes", "null", "~", "1.10", "0755", "2024-01-01", "<<", "=", "", "1e3", ".inf"]
        )
        return random_.choice([special, "".join(random_.choices(letters, k=random_.randint(1, 12)))])

    def free(depth: int = 0) -> object:
        kinds: list[Callable[[], object]] = [
            word,
            lambda: random_.randint(-(10**9), 10**9),
            random_.random,
            lambda: random_.random() < 0.5,
        ]
        if depth < 3:
            kinds += [lambda: [free(depth + 1) for _ in range(2)], lambda: {word(): free(depth + 1)}]
        return random_.choice(kinds)()

    def action() -> dict[str, object]:
        return {
            "description": word(),
            "method": random_.choice([None, *(method.value for method in RunMethod)]),
            "entrypoint": random_.choice([None, "a.b:C", "a.b.C"]),
            "resources": {"num_cpus": random_.choice([None, 0, 0.25, 8]), "memory": 2**30},
            "timeout_seconds": random_.choice([None, 0.5, 60]),
            "strict_results": random_.random() < 0.5,
            "serve_options": {word(): free()},
            "ui_schema": free(),
        }

    return {
        "name": word(),
        "code": "".join(random_.choices(string.ascii_lowercase + string.digits, k=random_.randint(1, 63))),
        "variant": word(),
        "category": random_.choice(list(PluginCategory)).value,
        "env": {f"V{word()}".replace("=", ""): random_.choice([None, word(), 3, True]) for _ in range(3)},
        "runtime_env": {word(): free()},
        "supported_data_type": random_.sample([kind.value for kind in DataType], k=2),
        "requires": {"python": word()},
        "tags": [word() for _ in range(3)],
        "actions": {word(): random_.choice([None, action()]) for _ in range(3)},
    }


@pytest.mark.parametrize("seed", range(100))
def test_what_is_dumped_loads_again_equal(load: Load, seed: int) -> None:
    config = PluginConfig.model_validate(_random_config(random.Random(seed)))

    dumped = config.model_dump(mode="json")

    assert PluginConfig.model_validate(config.model_dump()) == config
    assert PluginConfig.model_validate_json(json.dumps(dumped)) == config
    assert load(yaml.safe_dump(dumped, allow_unicode=True)).config == config
