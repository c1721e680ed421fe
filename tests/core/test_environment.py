"""The environment of an action: named values with a type, and what of a process is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synapse_core import PluginEnvironment
from synapse_core.environment import default_home, passed_environment


def test_a_prefix_is_stripped_from_the_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELLO_NAME", "Ada")
    monkeypatch.setenv("OTHER", "x")

    assert PluginEnvironment.from_environ("HELLO_").to_dict() == {"NAME": "Ada"}


def test_several_prefixes_choose_names_and_keep_them_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELLO_NAME", "Ada")
    monkeypatch.setenv("BYE_NAME", "Bob")
    monkeypatch.setenv("OTHER", "x")

    chosen = PluginEnvironment.from_environ(prefixes=["HELLO_", "BYE_"])

    assert chosen.to_dict() == {"HELLO_NAME": "Ada", "BYE_NAME": "Bob"}
    assert PluginEnvironment.from_environ(prefixes=[]).to_dict() == {}


def test_without_a_prefix_it_is_the_whole_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTHER", "x")

    whole = PluginEnvironment.from_environ()

    assert whole["OTHER"] == "x"
    assert "PATH" in whole


def test_a_toml_file_is_read_with_its_types(tmp_path: Path):
    (tmp_path / "env.toml").write_text(
        'NAME = "Ada"\nEPOCHS = 3\nRATE = 0.5\nFAST = true\nTAGS = ["a", "b"]\n'
    )

    env = PluginEnvironment.from_file(tmp_path / "env.toml")

    assert env.to_dict() == {"NAME": "Ada", "EPOCHS": 3, "RATE": 0.5, "FAST": True, "TAGS": ["a", "b"]}
    assert (env.get_int("EPOCHS"), env.get_bool("FAST"), env.get_list("TAGS")) == (3, True, ["a", "b"])


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        PluginEnvironment.from_file(str(tmp_path / "nowhere.toml"))


def test_of_several_environments_the_later_wins():
    merged = PluginEnvironment.merge(PluginEnvironment({"A": 1, "B": 1}), PluginEnvironment({"B": 2}))

    assert merged.to_dict() == {"A": 1, "B": 2}
    assert PluginEnvironment.merge().to_dict() == {}


def test_an_environment_reads_like_a_mapping():
    env = PluginEnvironment({"A": "1", "B": "2"})

    assert "A" in env
    assert "C" not in env
    assert env["A"] == "1"
    assert (list(env), len(env)) == (["A", "B"], 2)
    assert (env.get("A"), env.get("C"), env.get("C", 7)) == ("1", None, 7)
    with pytest.raises(KeyError):
        env["C"]


def test_changing_what_was_given_or_returned_changes_nothing():
    data = {"A": "1"}
    env = PluginEnvironment(data)
    data["A"] = "2"
    env.to_dict()["A"] = "3"

    assert env["A"] == "1"
    assert PluginEnvironment().to_dict() == {}


@pytest.mark.parametrize(("value", "text"), [("a", "a"), (3, "3"), (0.5, "0.5"), ("", "")])
def test_any_value_is_a_text(value: Any, text: str):
    assert PluginEnvironment({"A": value}).get_str("A") == text


@pytest.mark.parametrize(("value", "number"), [("3", 3), (" 4 ", 4), ("-1", -1), (5, 5), (2.0, 2)])
def test_a_whole_number_is_read(value: Any, number: int):
    assert PluginEnvironment({"A": value}).get_int("A") == number


@pytest.mark.parametrize("value", ["", "x", "1.5", "1e3", 1.5, float("inf"), float("nan"), [1], {}])
def test_what_is_no_whole_number_is_refused_by_name_and_without_the_value(value: Any):
    with pytest.raises(ValueError, match=r"^A is not a whole number\.$") as caught:
        PluginEnvironment({"A": value}).get_int("A")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(("value", "number"), [("0.5", 0.5), ("1e3", 1000.0), (3, 3.0), ("-1", -1.0)])
def test_a_number_is_read(value: Any, number: float):
    assert PluginEnvironment({"A": value}).get_float("A") == number


@pytest.mark.parametrize("value", ["", "x", "1,5", [1], {}])
def test_what_is_no_number_is_refused_by_name(value: Any):
    with pytest.raises(ValueError, match=r"^A is not a number\.$"):
        PluginEnvironment({"A": value}).get_float("A")


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "1", "yes", "YES", " yes ", True, 1])
def test_true_1_and_yes_are_true_in_any_case(value: Any):
    assert PluginEnvironment({"A": value}).get_bool("A") is True


@pytest.mark.parametrize("value", ["false", "0", "no", "", "on", "maybe", False, 0])
def test_anything_else_is_false(value: Any):
    assert PluginEnvironment({"A": value}).get_bool("A") is False


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ,", ["a", "b"]),
        ("", []),
        ("a", ["a"]),
        (["x", "y"], ["x", "y"]),
        (3, ["3"]),
    ],
)
def test_a_list_is_separated_by_commas(value: Any, parts: list[str]):
    assert PluginEnvironment({"A": value}).get_list("A") == parts


@pytest.mark.parametrize("kind", ["str", "int", "float", "bool", "list"])
def test_what_is_absent_or_null_is_the_default(kind: str):
    env = PluginEnvironment({"NULL": None})
    read = getattr(env, f"get_{kind}")

    assert (read("NEVER"), read("NULL")) == (None, None)
    assert (read("NEVER", "x"), read("NULL", "x")) == ("x", "x")


def test_its_text_shows_no_values():
    assert repr(PluginEnvironment({"TOKEN": "secret", "A": 1})) == "PluginEnvironment(A, TOKEN)"


def test_a_run_inherits_the_allow_list_and_what_its_plugin_names(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "SYNAPSE_LANGUAGE", "CUDA_VISIBLE_DEVICES", "LC_ALL"):
        monkeypatch.setenv(name, "x")

    passed = passed_environment()
    named = passed_environment(["MY_TOKEN", "NOT_SET"])

    assert {"PATH", "SYNAPSE_LANGUAGE", "CUDA_VISIBLE_DEVICES", "LC_ALL"} <= set(passed)
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"} & set(passed)
    assert set(named) - set(passed) == {"MY_TOKEN"}


def test_a_secret_that_only_begins_like_the_allow_list_stays_behind(monkeypatch: pytest.MonkeyPatch):
    """SYNAPSE_ACCESS_TOKEN is a run's own way to the backend."""
    secrets = ("NVIDIA_API_KEY", "SYNAPSE_SERVICE_TOKEN", "SYNAPSE_TOKEN_FILE", "TORCH_HUB_PASSWORD")
    for name in (*secrets, "SYNAPSE_ACCESS_TOKEN", "SYNAPSE_DATABASE_URL", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "x")

    passed = passed_environment(["NVIDIA_API_KEY"])

    assert {name for name in secrets if name in passed} == {"NVIDIA_API_KEY"}
    assert {"SYNAPSE_ACCESS_TOKEN", "SYNAPSE_DATABASE_URL", "NVIDIA_VISIBLE_DEVICES"} <= set(passed)
    assert not set(secrets) & set(passed_environment())


def test_the_home_is_the_named_folder_or_the_platforms_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SYNAPSE_HOME", str(tmp_path / "a" / ".." / "b"))
    assert default_home() == tmp_path / "b"

    monkeypatch.delenv("SYNAPSE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_home().is_relative_to(tmp_path)
    assert default_home().name == "synapse"
