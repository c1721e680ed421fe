"""Profiles: which settings are found, and what is said of a file that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synapse_core.backend_choice import backend_address, open_backend, read_token
from synapse_core.errors import BackendUnauthorized, InvalidConfig, Unavailable
from synapse_core.profile import Profile, config_path, find_profile

LAB = """\
default_profile: lab
profiles:
  lab:
    backend_url: https://synapse.example
    tenant: acme
    token_path: {token}
    ray_address: head.example:6379
    plugins: [/some/plugins]
  bare:
"""


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "lab.token"
    file.write_text("a-secret-of-the-lab\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def config(token: Path) -> Path:
    file = config_path()
    file.write_text(LAB.format(token=token))
    file.chmod(0o600)
    return file


def test_without_a_file_there_is_the_empty_profile():
    assert find_profile() == Profile()


def test_a_name_comes_before_the_variable_and_that_before_the_files_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
):
    assert find_profile().name == "lab"

    monkeypatch.setenv("SYNAPSE_PROFILE", "bare")

    assert find_profile() == Profile("bare")
    assert find_profile("lab").backend_url == "https://synapse.example"


def test_a_profile_that_is_not_there_comes_with_the_nearest(config: Path):
    with pytest.raises(InvalidConfig, match=r"no profile 'lob'\. Did you mean lab"):
        find_profile("lob")


def test_a_file_that_others_can_read_is_refused_with_the_command_that_mends_it(config: Path):
    config.chmod(0o644)

    with pytest.raises(InvalidConfig) as caught:
        find_profile()

    assert "0644" in caught.value.message
    assert caught.value.hint == f"chmod 600 {config}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "profiles:\n  lab:\n    backend: x\n",
            r":3: profiles.lab.backend: is no setting. Did you mean backend_url",
        ),
        ("profiles:\n  lab:\n    plugins: x\n", r":3: profiles.lab.plugins: should be a list of folders"),
        ("profiles:\n  lab: 3\n", r":2: profiles.lab: should be settings"),
        ("profiles:\n  lab:\n    tenant: 3\n", r":3: profiles.lab.tenant: should be a text"),
        ("profile: {}\n", r":1: profile: is no setting. Did you mean profiles"),
        ("- lab\n", r":1: there should be default_profile and profiles here"),
        ("profiles: [\n", r":2: "),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_key(text: str, said: str):
    config_path().write_text(text)
    config_path().chmod(0o600)

    with pytest.raises(InvalidConfig, match=said):
        find_profile("lab")


def test_the_token_comes_from_the_profiles_file_and_else_from_the_environment(config: Path, token: Path):
    environment = {"SYNAPSE_ACCESS_TOKEN": "of the environment"}

    assert read_token(find_profile("lab"), environment) == "a-secret-of-the-lab"
    assert read_token(find_profile("bare"), environment) == "of the environment"

    token.chmod(0o640)
    with pytest.raises(InvalidConfig) as caught:
        read_token(find_profile("lab"), environment)
    assert "a-secret" not in str(caught.value)

    os.remove(token)  # noqa: PTH107
    with pytest.raises(BackendUnauthorized, match=r"lab\.token"):
        read_token(find_profile("lab"), environment)


def test_the_address_is_the_profiles_and_else_that_of_the_environment(config: Path):
    environment = {"SYNAPSE_HOST": "https://other.example"}

    assert backend_address(find_profile("lab"), environment) == "https://synapse.example"
    assert backend_address(find_profile("bare"), environment) == "https://other.example"
    assert backend_address(find_profile("bare"), {}) is None


def test_a_worker_without_the_homes_disk_is_told_that_the_embedded_backend_is_elsewhere():
    with pytest.raises(Unavailable, match="on another one") as caught:
        open_backend(None, Profile(), {})

    assert "synapse_core.backend.service" in str(caught.value.hint)
