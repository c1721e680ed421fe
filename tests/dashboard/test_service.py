"""The dashboard over HTTP: what it tells, to whom, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests_dashboard import write_coco
from typer.testing import CliRunner

from synapse_mcp.cli import app as command_line
from synapse_mcp.cli_dashboard import asked_token
from synapse_mcp.dashboard.charts import charts_of
from synapse_mcp.dashboard.gate import Access
from synapse_mcp.dashboard.history import MOST_POINTS, Curve

TOKEN = "a-token-of-enough-signs"


def events_of(lines):
    """Yield the events of a stream as (name, data)."""
    name = None
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_run_is_told_as_it_goes_until_it_has_ended(world, client):
    run_id = world.train(epochs=6)
    seen, names = [], []

    with client.stream("GET", f"/api/changes/{run_id}") as stream:
        for name, data in events_of(stream.iter_lines()):
            names.append(name)
            if name == "run":
                seen.append((data["run"]["state"], data["run"]["progress"]["fraction"]))
            if ("running", 0.5) in seen:
                world.gate.touch()
            if name == "charts" and data:
                charts = data

    assert seen[-1] == ("succeeded", 1.0)
    assert ("running", 0.5) in seen, "what was so far was told before it went on"
    assert names[-1] == "end"
    assert [(chart["title"], chart["place"]) for chart in charts] == [("loss", "epoch")]
    series = {one["name"]: one["points"] for one in charts[0]["series"]}
    assert series["train"] == [[float(epoch), 1 / epoch] for epoch in range(1, 7)]
    assert len(series["validation"]) == 6
    assert [value for _, value in series["test"]] == [0.2], "a single value is a level of the same chart"


def test_the_list_tells_of_a_run_that_another_process_begins(world, client):
    with client.stream("GET", "/api/changes") as stream:
        lists = (data["runs"] for name, data in events_of(stream.iter_lines()) if name == "runs")
        assert next(lists) == []
        run_id = world.begin("hello", "misbehave", way="fail")
        for runs in lists:
            if runs and runs[0]["done"]:
                break

    assert (runs[0]["run_id"], runs[0]["state"]) == (run_id, "failed")
    assert "asked to fail" in runs[0]["note"]


def test_a_failed_run_is_told_with_its_failure_steps_and_parameters(world, client):
    run_id = world.begin("hello", "misbehave", way="fail")
    world.ended(run_id)

    told = client.get(f"/api/runs/{run_id}").json()

    assert told["run"]["failure"]["code"] == "step_failed"
    assert [step["name"] for step in told["steps"]] == ["prepare", "misbehave"]
    assert told["params"] == {"way": "fail"}
    assert told["log_bytes"] > 0


def test_a_log_is_searched_filtered_and_read_on(world, client):
    world.gate.touch()
    run_id = world.train(words="needle")
    world.ended(run_id)
    path = f"/api/runs/{run_id}/log"

    everything = client.get(path).json()
    warnings = client.get(path, params={"level": "warning"}).json()["lines"]
    found = client.get(path, params={"grep": "epoch [34] "}).json()["lines"]
    rest = client.get(path, params={"cursor": everything["cursor"]}).json()

    assert everything["lines"][0] == "printed needle"
    assert len(warnings) == 1 and "WARNING" in warnings[0]
    assert len(found) == 2
    assert rest["lines"] == []
    refused = client.get(path, params={"grep": "("})
    assert refused.status_code == 400
    assert "regular expression" in refused.json()["error"]["message"]
    assert client.get(path, params={"tail": "many"}).status_code == 400


def test_what_is_not_there_is_said_to_be_missing(client):
    assert client.get("/api/runs/run-nothing").json()["error"]["code"] == "unknown_run"
    assert client.get("/api/changes/run-nothing").status_code == 404
    assert client.get("/api/nothing").status_code == 404
    assert client.get("/assets/../app.py").status_code == 404
    assert client.get("/assets/%2e%2e/app.py").status_code == 404
    assert client.get("/api/runs", params={"state": "happy"}).status_code == 400
    assert client.get("/api/models").json() == {"models": [], "next_cursor": None}
    assert client.get("/api/deployments").json() == {"deployments": []}
    assert client.post("/api/deployments/nothing/probe").status_code == 404


def test_nothing_can_be_changed_and_every_answer_is_guarded(client):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/api/runs").status_code == 405
    for path in ("/", "/assets/main.js", "/api/runs", "/api/runs/run-nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"])
def test_a_name_that_is_not_ours_is_refused(client, host):
    answer = client.get("/api/runs", headers={"host": host})

    assert answer.status_code in (400, 421), answer.text
    assert "runs" not in answer.text


def test_our_own_names_are_taken(client):
    port = client.base_url.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        assert client.get("/api/runs", headers={"host": host}).status_code == 200
    assert Access(TOKEN, ["Bench.Example"]).is_our_name("bench.example:8000")


def test_pages_of_other_sites_get_nothing(client):
    assert client.get("/api/runs", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.get("/api/runs", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/runs", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_with_a_token_only_who_knows_it_sees_anything(world):
    url, _ = world.serve(TOKEN)
    with httpx.Client(base_url=url, trust_env=False) as stranger:
        assert stranger.get("/api/runs").status_code == 401
        assert stranger.get("/").headers["location"] == "/login"
        assert stranger.get("/login").status_code == 200
        assert stranger.post("/login", data={"token": "a-token-of-enough-sigms"}).status_code == 401
        assert stranger.post("/login", content=b"token=" + b"x" * 10_000).status_code == 413
        for wrong in ({"authorization": f"Bearer {TOKEN}x"}, {"cookie": f"synapse_dashboard_1={TOKEN}"}):
            assert stranger.get("/api/runs", headers=wrong).status_code == 401
        assert stranger.get("/api/runs", headers={"authorization": f"Bearer {TOKEN}"}).json()["runs"] == []

        entered = stranger.post("/login", data={"token": TOKEN})

        cookie = entered.headers["set-cookie"]
        assert TOKEN not in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert entered.headers["location"] == "/"
        assert stranger.get("/api/runs").status_code == 200, "the client now sends the cookie"


def test_datasets_are_shown_inside_of_the_allowed_folders_only(world, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    write_coco(inside / "coco")
    write_coco(outside / "coco")
    (inside / "way_out").symlink_to(outside)
    url, _ = world.serve(settings=dataclasses.replace(world.settings, allowed_paths=(inside,)))

    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        summary = client.get("/api/datasets/summary", params={"path": str(inside / "coco")})
        picture = client.get("/api/datasets/preview", params={"path": str(inside / "coco"), "count": 2})
        assert summary.json()["format"] == "coco"
        assert picture.content.startswith(b"\x89PNG")
        for path in (outside / "coco", inside / "way_out" / "coco", inside / ".." / "outside" / "coco"):
            for what in ("summary", "preview"):
                refused = client.get(f"/api/datasets/{what}", params={"path": str(path)})
                assert refused.status_code == 400
                assert "outside" in refused.json()["error"]["message"]
        elsewhere = client.get("/api/datasets/summary", params={"path": "http://127.0.0.1:1/x"})
        assert elsewhere.status_code == 400


def test_the_secrets_of_the_environment_are_masked(world, client, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "very-secret-value")
    world.gate.touch()
    run_id = world.train(words="very-secret-value")
    world.ended(run_id)

    for path in (f"/api/runs/{run_id}", f"/api/runs/{run_id}/log", "/api/runs"):
        assert "very-secret-value" not in client.get(path).text
    assert "***" in client.get(f"/api/runs/{run_id}/log").text


def test_an_open_address_without_a_token_is_refused(tmp_path, monkeypatch):
    refused = CliRunner().invoke(command_line, ["dashboard", "--host", "0.0.0.0"])
    assert refused.exit_code == 1
    assert "no token is set" in refused.output

    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    refused = CliRunner().invoke(command_line, ["dashboard", "--token-file", str(file)])
    assert refused.exit_code == 1
    assert "chmod 600" in refused.output
    file.chmod(0o600)
    assert asked_token("0.0.0.0", file) == TOKEN
    monkeypatch.setenv("SYNAPSE_DASHBOARD_TOKEN", TOKEN)
    assert asked_token("127.0.0.1", None) == TOKEN
    assert "SYNAPSE_DASHBOARD_TOKEN" not in os.environ, "children do not inherit it"


def test_the_command_prints_where_it_is_and_ends_on_a_signal_in_spite_of_open_streams(home):
    command = [sys.executable, "-m", "synapse_mcp", "dashboard"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[1]
            with httpx.stream("GET", f"{url}api/changes", trust_env=False, timeout=30) as stream:
                lines = stream.iter_lines()
                while not next(lines).startswith("data: "):
                    pass
                process.send_signal(signal.SIGINT)
                assert process.wait(20) in (0, 130, -signal.SIGINT)
        finally:
            process.kill()


def test_a_port_that_is_taken_is_told(world):
    url, _ = world.serve()

    refused = CliRunner().invoke(command_line, ["dashboard", "--port", url.rstrip("/").rpartition(":")[2]])

    assert refused.exit_code == 1
    assert "cannot listen" in refused.output


def test_a_long_curve_keeps_its_ends_and_its_form():
    curve = Curve("step")
    for at in range(100_000):
        curve.add(float(at), float(at))

    points = curve.points

    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS + 1
    assert (points[0], points[-1]) == ((0.0, 0.0), (99_999.0, 99_999.0))
    gaps = {later[0] - earlier[0] for earlier, later in itertools.pairwise(points[:-1])}
    assert len(gaps) == 1, "as dense at the beginning as at the end"


def test_training_and_validation_of_one_metric_share_a_chart():
    curves = {}
    for key in ((None, "__default__", "train_loss"), (None, "__default__", "val_loss"), (None, "lr", "lr")):
        curves[key] = Curve("epoch")
        curves[key].add(1.0, 0.5)
        curves[key].add(2.0, 0.4)

    charts = charts_of(curves)

    assert [(chart.title, [one.name for one in chart.series]) for chart in charts] == [
        ("loss", ["train", "val"]),
        ("lr", ["lr"]),
    ]


def test_every_file_of_the_pages_names_nothing_elsewhere():
    folder = Path(__file__).parents[2] / "synapse_mcp" / "dashboard" / "assets"
    files = list(folder.iterdir())
    assert len(files) > 8
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text, file.name
        for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{file.name}: {word}"
