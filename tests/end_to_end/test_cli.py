"""The command line, as a person uses it: real processes, exit codes, and what they print."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from synapse_mcp.cli import app

COMMAND = [sys.executable, "-m", "synapse_mcp"]


def synapse(*arguments, home=None, timeout=120):
    """Run the command line to its end."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    if home is not None:
        environment["SYNAPSE_HOME"] = str(home)
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


def test_a_run_is_watched_listed_shown_and_its_log_read():
    ran = synapse("run", "hello", "greet", "-p", "name=Ada", "-p", "repeat=3")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"text": "Hello, Ada!"' in ran.stdout
    run_id = next(word for word in ran.stdout.split() if word.startswith("run-"))

    listed = synapse("runs", "list").stdout
    assert run_id in listed
    assert "succeeded" in listed
    shown = json.loads(synapse("runs", "show", run_id).stdout)
    assert shown["result"]["text"] == "Hello, Ada!"
    assert "Hello, Ada!" in synapse("runs", "logs", run_id, "--tail", "5").stdout
    assert synapse("runs", "logs", run_id, "--grep", "nothing like it").stdout == ""


def test_a_failed_run_is_told_and_gives_exit_code_1():
    ran = synapse("run", "hello", "misbehave", "-p", "way=fail")

    assert ran.returncode == 1
    assert "asked to fail" in ran.stdout


def test_what_a_plugin_says_is_neither_a_style_nor_a_command_of_the_terminal(tmp_path: Path):
    root = tmp_path / "rude"
    root.mkdir()
    (root / "config.yaml").write_text(
        "name: Rude\ncode: rude\nversion: 1.0.0\n"
        "actions:\n  speak: {method: local, entrypoint: 'rude:Speak'}\n"
    )
    (root / "rude.py").write_text(
        "from synapse_core import BaseAction\n\n\n"
        "class Speak(BaseAction):\n    def execute(self):\n"
        "        print('\\x1b]0;mine\\x07\\x1b[31mprinted\\x1b[0m')\n"
        "        self.set_progress(1, 2, '[/bold]')\n"
        "        raise ValueError('no file [/etc] \\x1b[2Jhere')\n"
    )
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}

    ran = CliRunner().invoke(app, ["run", "rude", "speak", "--plugins", str(root)], env=environment)
    run_id = next(word for word in ran.stdout.split() if word.startswith("run-"))
    logged = CliRunner().invoke(app, ["runs", "logs", run_id], env=environment)

    assert ran.exit_code == 1, ran.exception
    assert "no file [/etc] here" in ran.stdout
    assert "printed\n" in logged.stdout
    assert "\x1b" not in ran.stdout + logged.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "hello", "greet", "-p", "nam=x"], "Did you mean name?"),
        (["run", "hello", "greet", "-p", "name"], "is not KEY=VALUE"),
        (["run", "helo", "greet"], "Did you mean hello?"),
        (["run", "hello", "greet", "--mode", "tsk"], "auto, local, task"),
        (["runs", "show", "run-nothing"], "There is no run"),
        (["runs", "list", "--state", "done"], "the states are"),
    ],
)
def test_a_wrong_call_says_what_is_true_and_gives_exit_code_1(arguments, words):
    ran = synapse(*arguments)

    assert ran.returncode == 1
    assert words in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_leaving_with_ctrl_c_leaves_the_run_going_and_stop_ends_it(home):
    arguments = [*COMMAND, "run", "hello", "misbehave", "-p", "way=sleep", "-p", "seconds=600"]
    # In the background of a shell it is ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watching = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    run_id = watching.stdout.readline().split()[1]
    while json.loads(synapse("runs", "show", run_id).stdout)["state"] == "queued":
        pass
    watching.send_signal(signal.SIGINT)
    rest = watching.communicate(timeout=60)[0]

    assert watching.returncode == 130
    assert "It goes on" in rest
    assert json.loads(synapse("runs", "show", run_id).stdout)["state"] == "running"
    stopped = synapse("runs", "stop", run_id)
    assert f"{run_id} stopped" in stopped.stdout


def test_doctor_is_content_with_a_fresh_home_and_names_the_fix_of_a_problem(home):
    fine = synapse("doctor")
    assert fine.returncode == 0, fine.stdout
    assert "Everything is in order" in fine.stdout

    broken = home / "plugins" / "broken"
    broken.mkdir(parents=True)
    (broken / "config.yaml").write_text("name: Broken\ncode: Not Allowed\n")
    troubled = synapse("doctor")
    assert troubled.returncode == 1
    assert "broken_plugin" in troubled.stdout
    assert "fix:" in troubled.stdout


def test_the_version_and_the_help_are_shown_and_nothing_is_served():
    assert synapse("--version").stdout.startswith("synapse-mcp ")
    for arguments in (["--help"], ["run", "--help"], ["runs", "--help"], ["ray", "--help"]):
        shown = synapse(*arguments)
        assert shown.returncode == 0
        assert "usage" in shown.stdout.lower()


def test_there_is_no_ray_to_stop_where_none_was_started():
    assert "no local cluster was running" in synapse("ray", "stop").stdout
    assert "not_started" in synapse("ray", "status").stdout


@pytest.mark.ray
def test_a_run_on_ray_and_the_status_of_the_cluster(ray_home):
    ran = synapse("run", "hello", "greet", "--mode", "task", home=ray_home)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Hello, world!" in ran.stdout
    assert "running" in synapse("ray", "status", home=ray_home).stdout


@pytest.mark.ray
def test_the_demonstration_trains_a_classifier_and_leaves_nothing_running(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="sd") as temporary:
        # Every process below inherits it, and can be told by it.
        monkeypatch.setenv("TMPDIR", temporary)

        shown = synapse("demo", timeout=180)

        left = [
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/environ")
            if f"TMPDIR={temporary}".encode() in _read(path).split(b"\0")
        ]
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert float(shown.stdout.split("Test accuracy")[-1].split()[0]) >= 0.95
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_dataset_is_inspected_and_converted_and_what_was_lost_is_told(tmp_path):
    root = tmp_path / "boats"
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (100, 80)).save(root / "images" / "train" / "a.png")
    (root / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.2 0.25\n3 0.5 0.5 0.2 0.25\n")
    (root / "data.yaml").write_text("train: images/train\nnames: [boat]\n")

    seen = synapse("inspect", str(root), "--json")
    assert json.loads(seen.stdout)["format"] == "yolo"

    dry = synapse("convert", str(root), "--to", "coco", "--dry-run")
    assert dry.returncode == 0
    assert "1 of 2 annotations" in dry.stdout
    assert "UNKNOWN_CLASS" in dry.stdout

    strict = synapse("convert", str(root), "--to", "coco", "-o", str(tmp_path / "out"), "--strict")
    assert strict.returncode == 3
    assert "lossy_conversion" in strict.stderr
    assert not (tmp_path / "out").exists()

    options = ("--images", "none", "--option", "class_order=name", "--workers", "1", "--json")
    done = synapse("convert", str(root), "--to", "coco", "-o", str(tmp_path / "out"), *options)
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert json.loads(Path(result["config_path"]).read_text())["categories"] == [{"id": 1, "name": "boat"}]

    wrong = synapse("convert", str(root), "--to", "coko", "--dry-run")
    assert wrong.returncode == 1
    assert "Did you mean coco" in wrong.stderr
    assert "Traceback" not in wrong.stderr
