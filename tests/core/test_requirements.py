"""What a plugin's requirements become in a Ray job's runtime environment. Nothing is installed here."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from synapse_core.errors import InvalidRequest
from synapse_core.executors.ray.job_env import merged, runtime_env
from synapse_core.executors.ray.requirements import packages_env
from synapse_core.run_folder import Packages, RunRequest

ABSENT = "a-package-that-nobody-has"


def env_of(root: Path, text: str | None = None, *, skip_satisfied: bool = True, **packages) -> dict:
    if text is not None:
        (root / "requirements.txt").write_text(text)
    return packages_env(root, Packages(**packages), skip_satisfied=skip_satisfied)


def test_a_plugin_without_requirements_needs_no_environment(tmp_path):
    assert env_of(tmp_path) == {}
    assert env_of(tmp_path, "# nothing yet\n\n") == {}


@pytest.mark.parametrize(
    "line",
    [
        "pydantic",
        f"pydantic=={version('pydantic')}",
        "Pydantic>=2  # with a remark",
        "ray[default]>=2.60",
        f'{ABSENT}; python_version < "3"',
    ],
)
def test_what_is_there_already_is_not_installed_again(tmp_path, line):
    assert env_of(tmp_path, line) == {}
    assert env_of(tmp_path, line, skip_satisfied=False) != {}, "another Python may lack it"


@pytest.mark.parametrize("line", [ABSENT, "pydantic<1", "pydantic @ https://example.org/pydantic.zip"])
def test_what_is_not_there_is_installed(tmp_path, line):
    assert env_of(tmp_path, line)["pip"]["packages"] == [line]


def test_a_line_with_a_dash_is_an_option_and_paths_hold_anywhere(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text(f"{ABSENT}-too==1 \\\n  --hash=sha256:ab\n")
    (tmp_path / "local").mkdir()

    env = env_of(tmp_path, f"-r more/base.txt\n--no-index\n--find-links=local\n-f local\n{ABSENT}\n./local\n")

    assert env["pip"]["packages"] == [f"{ABSENT}-too==1 --hash=sha256:ab", ABSENT, str(tmp_path / "local")]
    options = env["pip"]["pip_install_options"]
    assert options[-4:] == ["--no-index", f"--find-links={tmp_path / 'local'}", "-f", str(tmp_path / "local")]


def test_uv_installs_in_place_of_pip_where_it_is_asked_for(tmp_path):
    env = env_of(tmp_path, ABSENT, manager="uv", options=("--prerelease=allow",))

    assert env == {
        "uv": {"packages": [ABSENT], "uv_pip_install_options": ["--no-cache", "--prerelease=allow"]}
    }


def test_every_wheel_of_the_folder_is_installed_and_looked_in(tmp_path):
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / "nobody_has_this-1.0-py3-none-any.whl"
    wheel.touch()
    (tmp_path / "wheels" / f"pydantic-{version('pydantic')}-py3-none-any.whl").touch()

    env = env_of(tmp_path)

    assert env["pip"]["packages"] == [str(wheel)], "the other one is there already"
    assert env["pip"]["pip_install_options"][-2:] == ["--find-links", str(tmp_path / "wheels")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pydantic\nnot a requirement\n", "requirements.txt:2: 'not a requirement'"),
        ("-r nowhere.txt", "nowhere.txt is not there"),
        ("-r requirements.txt", "includes itself"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path, text, words):
    with pytest.raises(InvalidRequest, match=words):
        env_of(tmp_path, text)


def test_a_manager_or_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="no package manager 'conda'"):
        env_of(tmp_path, manager="conda")
    with pytest.raises(InvalidRequest, match=r"no requirements file .*other\.txt"):
        env_of(tmp_path, requirements_file="other.txt")


def test_a_later_runtime_env_wins_field_by_field_and_variable_by_variable():
    first = {"pip": ["a"], "env_vars": {"A": "1", "B": "1"}, "config": {"setup_timeout_seconds": 5}}
    second = {"uv": ["b"], "env_vars": {"B": "2"}}

    assert merged(first, second) == {
        "uv": ["b"],
        "env_vars": {"A": "1", "B": "2"},
        "config": {"setup_timeout_seconds": 5},
    }


def request_with(root: Path, env: dict) -> RunRequest:
    return RunRequest(run_id="r", plugin="p", root=str(root), actions=(), runtime_env=env)


def test_a_python_of_its_own_replaces_the_plugins_requirements(tmp_path):
    (tmp_path / "requirements.txt").write_text(ABSENT)
    (tmp_path / "other.txt").write_text("numpy==1\n")

    of_list = runtime_env(request_with(tmp_path, {"pip": ["numpy"]}), None, skip_satisfied=True)
    of_file = runtime_env(request_with(tmp_path, {"pip": "other.txt"}), None, skip_satisfied=True)
    plain = runtime_env(request_with(tmp_path, {}), None, skip_satisfied=True)
    of_nothing = runtime_env(request_with(tmp_path, {"pip": []}), None, skip_satisfied=True)

    assert of_list["pip"] == {"packages": ["numpy"]}
    assert of_file["pip"]["packages"] == ["numpy==1"]
    assert plain["pip"]["packages"] == [ABSENT]
    assert of_nothing == plain, "Ray makes no Python for an empty list"
    assert plain["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "12"}, "rollbacks have 8 s"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"pips": ["a"]}, "no field 'pips'. Did you mean pip"),
        ({"env_vars": {"A": 1}}, "no text"),
        ({"env_vars": ["A"]}, "no text"),
        ({"working_dir": "/somewhere"}, "no address"),
        ({"pip": [1]}, "should be a list of requirements"),
        ({"uv": {"package": []}}, "should be a list of requirements"),
    ],
)
def test_a_runtime_env_that_ray_would_not_take_is_refused_before_anything_runs(tmp_path, env, words):
    with pytest.raises(InvalidRequest, match=words):
        runtime_env(request_with(tmp_path, env), None, skip_satisfied=True)
