"""A home whose disk fills up: what was recorded stays readable, the end is told, work goes on afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, subprocess, sys
from pathlib import Path

folder, plugins = map(Path, sys.argv[1:])
home = folder / "home"
home.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(home)], check=True)

from conftest import Laboratory
from synapse_core.errors import SynapseError
from synapse_core.executors import ProcessExecutor
from synapse_core.registry import Registry

registry = Registry([plugins], folder / "cache")
lab = Laboratory("local", home, registry, {"local": ProcessExecutor()})
told = {"before": lab.run("greet").state.value}

flood = lab.run("misbehave", {"way": "flood_events", "amount": 40_000})
seqs = [event.seq for event in lab.events(flood)]
told["flood"] = [flood.state.value, flood.failure.code, seqs == list(range(1, len(seqs) + 1)), len(seqs)]
told["listed"] = len(lab.runs.list()[0])

try:
    with open(home / "ballast", "wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
except OSError:
    pass
try:
    lab.begin("greet")
    told["submit"] = "taken"
except SynapseError as error:
    told["submit"] = error.code
told["still_listed"] = len(lab.runs.list()[0])

(home / "ballast").unlink()
lab.runs.folder(flood.run_id).output.unlink()
told["after"] = lab.run("greet").state.value
print(json.dumps(told))
lab.runs.close()
registry.close()
"""


@pytest.mark.skipif(
    sys.platform != "linux"
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="needs the right to make a mount namespace (unshare), for a small disk of its own",
)
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, registry):
    tests = Path(__file__).resolve().parents[1]
    ended = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", PROGRAM, str(tmp_path), str(registry.paths[0])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tests,
    )

    assert ended.returncode == 0, ended.stderr[-3000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["before"] == "succeeded"
    assert told["flood"][:3] == ["failed", "disk_full", True]
    assert told["flood"][3] > 1000
    assert told["listed"] == told["still_listed"] == 2
    assert told["submit"] == "disk_full"
    assert told["after"] == "succeeded"
