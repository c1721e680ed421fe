"""What others wrote to test servers with: installed once, as locked, into a temporary folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
INSTALL_SECONDS = 240
RUN_SECONDS = 150


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, one of them installs and uses the packages."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("clients"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Node:
    """Node with the packages of tests/clients/package.json."""

    bin: Path
    folder: Path

    def run(self, script: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script, or the file of a package, and return what it said."""
        return subprocess.run(
            [self.bin / "node", self.folder / script, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def node() -> Node:
    """Node >= 22 comes with a package of the test extra; the rest is kept from session to session."""
    places = [Path(sys.prefix, "bin"), *map(Path, os.environ["PATH"].split(os.pathsep))]
    found = next((place for place in places if (place / "npm").exists() and _is_new(place)), None)
    if found is None:
        pytest.skip("Node 22 or newer is not here: pip install 'synapse-mcp[test]'")
    content = b"".join((CLIENTS / name).read_bytes() for name in ("package.json", "package-lock.json"))
    key = hashlib.sha256(content).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"synapse-mcp-clients-{os.getuid()}-{key}")
    if not folder.is_dir() or folder.stat().st_uid != os.getuid():
        _install(found, folder)
    shutil.copy(CLIENTS / "core_loop.mjs", folder)
    return Node(found, folder)


def _is_new(place: Path) -> bool:
    try:
        ran = subprocess.run([place / "node", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return int(ran.stdout.lstrip("v").partition(".")[0]) >= 22


def _install(found: Path, folder: Path) -> None:
    made = Path(tempfile.mkdtemp(prefix="synapse-mcp-clients-"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CLIENTS / name, made)
    environment = {**os.environ, "PATH": f"{found}{os.pathsep}{os.environ['PATH']}"}
    command = [found / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(
            command, cwd=made, env=environment, check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(made, ignore_errors=True)
        pytest.skip(f"npm cannot install the packages of tests/clients: {error}")
    made.rename(folder)


@pytest.fixture(scope="module")
def fixture_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real server with the fixtures of the suite on top."""
    folder = tmp_path_factory.mktemp("fixture-server")
    here = Path(__file__).parent
    paths = [str(here), *sys.path]
    environment = {
        **os.environ,
        "SYNAPSE_HOME": str(folder / "home"),
        "SYNAPSE_CONFIG": str(folder / "config.yaml"),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    command = [sys.executable, str(here / "fixture_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), "the server did not start"
            yield url
        finally:
            process.terminate()
