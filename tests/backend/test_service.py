"""The service itself: who may call it, what it refuses, how it starts and ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from backend_services import TOKEN, serving

from synapse_core.backend import FileSpecification, NewDataUnit
from synapse_core.backend.http import HttpBackend
from synapse_core.backend.local import LocalBackend
from synapse_core.backend.service import Service, create_app
from synapse_core.backend.service.__main__ import main
from synapse_core.backend.service.uploads import Uploads

HEADERS = {"Synapse-Access-Token": f"Token {TOKEN}"}


@pytest.fixture
def caller(home: Path) -> Iterator[httpx.Client]:
    with serving(home) as (url, _backend), httpx.Client(base_url=url, headers=HEADERS) as opened:
        yield opened


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Synapse-Access-Token": "Token wrong"},
        {"Synapse-Access-Token": ""},
        {"Synapse-Access-Token": "Token"},
        {"Synapse-Access-Token": "Token wrong", "Authorization": f"Token {TOKEN}"},
        {"Synapse-Access-Token": f"Token {TOKEN[:-1]}"},
    ],
)
def test_nothing_but_its_health_is_told_without_the_token(home: Path, headers: dict[str, str]):
    with serving(home) as (url, _backend), httpx.Client(base_url=url, headers=headers) as caller:
        answers = [
            caller.request(method, path)
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
            for path in ("/", "/storages/", "/storages/1/files/x", "/docs", "/openapi.json", "/nothing")
        ]

        assert {answer.status_code for answer in answers} == {401}
        assert caller.get("/health").json()["status"] == "ok"


def test_either_header_is_taken(home: Path):
    with serving(home) as (url, _backend):
        for name in ("Synapse-Access-Token", "Authorization", "authorization"):
            assert httpx.get(f"{url}/storages/", headers={name: f"Token {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/projects/9/", None, 404, "unknown_record"),
        ("GET", "/nothing/", None, 404, "unknown_path"),
        ("DELETE", "/projects/", None, 405, "unknown_method"),
        ("GET", "/projects/?colour=red", None, 400, "rejected"),
        ("GET", "/projects/?page_size=0", None, 400, "rejected"),
        ("GET", "/models/?after=x", None, 400, "rejected"),
        ("POST", "/projects/", "{", 400, "rejected"),
        ("POST", "/projects/", '{"name": 7}', 400, "rejected"),
        ("POST", "/projects/", "[]", 400, "rejected"),
        ("POST", "/models/", '{"name": "m"}', 400, "rejected"),
        ("POST", "/models/", '{"name": "m", "chunked_upload": "../../x"}', 404, "unknown_record"),
        ("GET", "/storages/1/files/%2e%2e/%2e%2e/synapse.db", None, 400, "invalid_storage_name"),
        ("GET", "/storages/1/files//etc/passwd", None, 400, "invalid_storage_name"),
        ("PUT", "/storages/1/files/..%2f..%2fx", "x", 400, "invalid_storage_name"),
        ("DELETE", "/storages/1/files/a/../../x", None, 404, None),
        ("GET", "/storages/1/files/nothing", None, 404, "storage_not_found"),
        ("PUT", "/chunked_upload/", "x", 400, "rejected"),
    ],
)
def test_what_cannot_be_done_is_told_with_a_reason(
    caller: httpx.Client, method: str, path: str, body: str | None, status: int, code: str | None
):
    caller.get("/storages/default/")

    answer = caller.request(method, path, content=body)

    told = answer.json()
    assert answer.status_code == status
    assert code is None or told["code"] == code
    assert set(told) == {"code", "message", "hint", "details"}
    assert told["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_kept(home: Path):
    local = LocalBackend(home)
    app = create_app(local, TOKEN, home / "service", most_body_bytes=1000, most_file_bytes=5000)
    service = Service(app)
    try:
        with httpx.Client(base_url=service.start(), headers=HEADERS) as caller:
            caller.get("/storages/default/")
            told = caller.post("/projects/", content=b"x" * 1001)
            untold = caller.post("/projects/", content=iter([b"x" * 600, b"x" * 600]))
            form = caller.post("/data_files/", files={"file": ("file", b"x" * 2000)})
            file = caller.put("/storages/1/files/a", content=iter([b"x" * 3000, b"x" * 3000]))
            fits = caller.put("/storages/1/files/b", content=b"x" * 3000)

            assert [one.status_code for one in (told, untold, form, file, fits)] == [413, 413, 413, 413, 201]
            assert {one.json()["code"] for one in (told, untold, form, file)} == {"too_large"}
            assert [name for name, _ in local.open_storage().list()] == ["b"]
            assert not list((home / "service" / "passing").iterdir())
    finally:
        service.stop()
        local.close()


def test_an_upload_in_parts_is_kept_while_parts_come(tmp_path: Path):
    uploads = Uploads(tmp_path, 100)
    kept, left = uploads.begin(), uploads.begin()
    uploads.add(kept, "bytes 0-3/8", io.BytesIO(b"half"), 4)
    # Both were begun two days ago; to one of them something came just now.
    long_ago = time.time() - 2 * 86_400
    for path in (tmp_path / kept, tmp_path / left, tmp_path / left / "part"):
        os.utime(path, (long_ago, long_ago))

    new = uploads.begin()

    assert {path.name for path in tmp_path.iterdir()} == {kept, new}
    assert uploads.offset(kept) == 4


def test_a_failure_of_the_service_tells_nothing_of_itself(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Its database is gone while it runs."""
    with serving(home) as (url, local), httpx.Client(base_url=url, headers=HEADERS) as caller:
        assert caller.get("/projects/").status_code == 200
        local.close()
        (home / "synapse.db").unlink()
        (home / "synapse.db").mkdir()

        answer = caller.get("/projects/")

        assert answer.status_code >= 500
        assert "Traceback" not in answer.text
        assert set(answer.json()) == {"code", "message", "hint", "details"}


def test_a_filter_may_have_thousands_of_values(home: Path):
    with serving(home) as (url, local), HttpBackend(url, TOKEN) as backend:
        local.open_storage()
        collection = local.create_data_collection(
            "Texts", [FileSpecification(name="text", is_required=False)]
        )
        units = local.create_data_units(
            collection.id, [NewDataUnit(key=f"{n}", files={}) for n in range(250)]
        )
        wanted = [f"{unit.key}" for unit in units[:230]] + [
            f"a key that is not there {n}" for n in range(5000)
        ]

        found = backend.list_data_units({"key": wanted, "data_collection": collection.id})

        assert found.count == 230
        assert list(found) == units[:230]
        assert list(backend.list_data_units({"key": wanted}, after=units[99].id)) == units[100:230]


# As a process of its own


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-m", "synapse_core.backend.service", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def test_the_command_serves_a_home_until_it_is_told_to_end(home: Path, tmp_path: Path):
    with process("--home", str(home)) as service:
        assert service.stdout is not None
        line = service.stdout.readline()
        token_path = home / "service" / "token"
        token = token_path.read_text().strip()
        assert token_path.stat().st_mode & 0o777 == 0o600
        image = tmp_path / "image.png"
        image.write_bytes(b"an image")
        with HttpBackend(line.removeprefix("listening on ").strip(), token) as backend:
            assert backend.check()["kind"] == "http"
            made = backend.create_data_file(image)
        service.send_signal(signal.SIGTERM)
        out, err = service.communicate(timeout=30)

    assert service.returncode == 0
    assert token not in line + out + err
    assert str(token_path) in err
    local = LocalBackend(home)
    assert local.open_storage().read_bytes(made.file.path) == b"an image"
    local.close()


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (("--host", "0.0.0.0"), {}, "--token-file"),
        (("--host", "0.0.0.0"), {"SYNAPSE_SERVICE_TOKEN": TOKEN}, "--token-file"),
        (("--token-file", "open"), {}, "chmod 600"),
        (("--token-file", "empty"), {}, "at least 16"),
        (("--token-file", "missing"), {}, "missing"),
        ((), {"SYNAPSE_SERVICE_TOKEN": "short"}, "at least 16"),
        ((), {"SYNAPSE_HOME": ""}, "--home"),
    ],
)
def test_the_command_refuses_what_is_not_safe(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    environment: dict[str, str],
    says: str,
):
    for name, content, mode in (("open", TOKEN, 0o644), ("empty", "\n", 0o600)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["service", *arguments])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert main() == 2

    out, err = capsys.readouterr()
    assert says in err
    assert out == ""
    assert TOKEN not in err


def test_the_errors_have_the_names_that_the_manual_promises(caller: httpx.Client):
    told = json.loads(caller.get("/projects/9/").text)

    assert told["details"] == {"kind": "project", "asked": 9}
    assert told["message"] == "The backend has no project 9."
