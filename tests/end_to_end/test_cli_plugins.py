"""Making plugins on the command line: real processes, exit codes, and what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def synapse(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "synapse_mcp", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


def test_a_plugin_is_created_validated_run_and_gets_another_action(home: Path):
    made = synapse("create", "points", "--category", "neural_net", "--action", "train", "--name", "My points")
    assert made.returncode == 0, made.stdout
    root = (home / "plugins" / "points").resolve()
    assert made.stdout.splitlines()[-1] == "synapse-mcp run points train"
    assert all(Path(line).is_file() for line in made.stdout.splitlines()[:-1])
    assert 'name: "My points"' in (root / "config.yaml").read_text()

    ran = synapse("run", "points", "train")
    assert ran.returncode == 0, ran.stdout
    assert '"weights_path"' in ran.stdout

    added = synapse("add-action", "points", "predict=inference")
    assert added.returncode == 0, added.stdout
    checked = synapse("validate", str(root))
    assert (checked.returncode, checked.stdout.strip()) == (0, "points: 2 actions load, 0 problems")

    (root / "plugin" / "train.py").write_text("import nothing_of_this_name\n")
    checked = synapse("validate", str(root))
    assert checked.returncode == 1
    assert "nothing_of_this_name" in checked.stdout


def test_what_is_refused_gives_exit_code_1_and_says_what_to_do(home: Path, tmp_path: Path):
    assert "'my-points'" in (refused := synapse("create", "My points")).stdout
    assert refused.returncode == 1

    made = synapse("create", "mine", "--path", str(tmp_path / "elsewhere"))
    assert made.stdout.splitlines()[-1] == f"synapse-mcp run mine main --plugins {tmp_path / 'elsewhere'}"
    refused = synapse("add-action", str(tmp_path / "elsewhere" / "mine"), "main")
    assert refused.returncode == 1
    assert "has an action 'main' already" in refused.stdout
