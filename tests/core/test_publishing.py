"""Publishing plugins, and running what was published on a machine that has only the backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from synapse_core.archives import unpack
from synapse_core.backend.local import LocalBackend
from synapse_core.errors import (
    ArchiveError,
    BackendConflict,
    InvalidConfig,
    InvalidRequest,
    RecordNotFound,
    SecretInPlugin,
)
from synapse_core.home import Home
from synapse_core.publishing import pack_plugin, publish_plugin
from synapse_core.releases import Releases
from synapse_core.runs.request import make_request

CONFIG = """\
name: Shout
code: shout
version: 0.1.0
actions:
  shout:
    entrypoint: shout:ShoutAction
    method: local
env:
  SHOUT_KEY: a-value-that-may-be-a-key
"""
CODE = """\
from pydantic import BaseModel
from synapse_core import BaseAction


class ShoutParams(BaseModel):
    text: str = "hello"


class ShoutAction(BaseAction[ShoutParams]):
    def execute(self) -> str:
        return self.params.text.upper()
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    root = tmp_path / "shout"
    root.mkdir()
    (root / "config.yaml").write_text(CONFIG)
    (root / "shout.py").write_text(CODE)
    (root / "requirements.txt").write_text("# what it needs\nnumpy>=1.26  # for nothing\n--no-index\n")
    return root


@pytest.fixture
def backend(home: Path) -> Iterator[LocalBackend]:
    opened = LocalBackend(home)
    yield opened
    opened.close()


def test_only_what_belongs_to_the_plugin_is_packed(plugin: Path, tmp_path: Path):
    (plugin / "__pycache__").mkdir()
    (plugin / "__pycache__" / "shout.cpython-311.pyc").write_bytes(b"old")
    (plugin / ".gitignore").write_text("*.log\n")
    (plugin / ".synapseignore").write_text("/data/\n!data/keep.txt\n")
    (plugin / "a.log").write_text("noise")
    (plugin / "data").mkdir()
    (plugin / "data" / "large.bin").write_bytes(b"0" * 100)

    archive = pack_plugin(plugin, tmp_path / "shout.zip")
    unpack(archive.path, tmp_path / "unpacked")

    packed = {path.name for path in (tmp_path / "unpacked").rglob("*") if path.is_file()}
    assert packed == {"config.yaml", "shout.py", "requirements.txt", ".gitignore", ".synapseignore"}


def test_the_same_content_gives_the_same_archive(plugin: Path, tmp_path: Path):
    first = pack_plugin(plugin, tmp_path / "first.zip")
    (plugin / "shout.py").touch()

    assert pack_plugin(plugin, tmp_path / "second.zip").sha256 == first.sha256


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env", "A=1"),
        ("deep/.env.production", "A=1"),
        ("server.pem", "anything"),
        ("id_ed25519", "anything"),
        (".aws/credentials", "anything"),
        ("notes.txt", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
        ("settings.py", "KEY = 'AKIA" + "ABCDEFGHIJKLMNOP'"),
    ],
)
def test_keys_are_refused_by_name_and_by_content_and_nothing_is_packed(
    plugin: Path, tmp_path: Path, name: str, content: str
):
    (plugin / name).parent.mkdir(exist_ok=True)
    (plugin / name).write_text(content)

    with pytest.raises(SecretInPlugin) as caught:
        pack_plugin(plugin, tmp_path / "shout.zip")

    assert name.partition("/")[0] in caught.value.message
    assert not (tmp_path / "shout.zip").exists()

    (plugin / ".synapseignore").write_text(f"{name}\n")
    assert pack_plugin(plugin, tmp_path / "shout.zip").files >= 3


def test_an_example_of_settings_is_no_secret(plugin: Path, tmp_path: Path):
    (plugin / ".env.example").write_text("SHOUT_KEY=\n")

    assert pack_plugin(plugin, tmp_path / "shout.zip").files == 4


def test_a_folder_that_is_too_large_is_refused_before_it_is_read(plugin: Path, tmp_path: Path):
    with open(plugin / "weights.bin", "wb") as file:
        file.truncate(10 << 30)

    with pytest.raises(ArchiveError, match=r"weights\.bin") as caught:
        pack_plugin(plugin, tmp_path / "shout.zip")

    assert ".synapseignore" in str(caught.value.hint)


def test_a_folder_without_a_usable_config_is_no_plugin(plugin: Path, tmp_path: Path):
    (plugin / "config.yaml").write_text("name: [")

    with pytest.raises(InvalidConfig):
        pack_plugin(plugin, tmp_path / "shout.zip")


def test_a_release_says_what_it_is_and_no_values_of_variables(plugin: Path, backend: LocalBackend):
    release = publish_plugin(backend, plugin)

    assert release.lookup == "shout@0.1.0"
    assert release.requirements == ("numpy>=1.26",)
    assert release.config["env"] == {"SHOUT_KEY": None}
    assert publish_plugin(backend, plugin).id == release.id


def test_a_version_is_published_once(plugin: Path, backend: LocalBackend):
    publish_plugin(backend, plugin)
    (plugin / "shout.py").write_text(CODE.replace("upper", "lower"))

    with pytest.raises(BackendConflict, match=r"0\.1\.0"):
        publish_plugin(backend, plugin)
    with pytest.raises(InvalidRequest, match=r"config\.yaml says 0\.1\.0"):
        publish_plugin(backend, plugin, version="0.2.0")


def test_a_published_plugin_runs_where_its_folder_is_not(plugin: Path, home: Path, backend: LocalBackend):
    publish_plugin(backend, plugin)
    (plugin / "config.yaml").unlink()

    opened = Home(home)
    try:
        request = make_request(
            opened.registry, "shout@0.1.0", "shout", {"text": "quiet"}, modes=opened.runs.modes
        )
        run, _ = opened.runs.submit(request)
        opened.runs.start(run.run_id)
        ended = opened.runs.wait(run.run_id, 60)
    finally:
        opened.close()

    assert ended.result == "QUIET"
    assert (ended.plugin, request.plugin_version) == ("shout", "0.1.0")


def test_a_release_is_fetched_once_and_an_unknown_one_is_told(
    plugin: Path, tmp_path: Path, home: Path, backend: LocalBackend
):
    publish_plugin(backend, plugin)
    releases = Releases(tmp_path / "releases", lambda: LocalBackend(home))
    root = releases.root("shout@0.1.0")
    (root / "mark").touch()

    assert (releases.root("shout@0.1.0") / "mark").exists()
    with pytest.raises(RecordNotFound, match=r"shout@0\.2\.0"):
        releases.root("shout@0.2.0")
    with pytest.raises(InvalidRequest, match="names no release"):
        releases.root("../shout@0.1.0")
