"""Services that are down, slow, wrong or cut off: what a caller is told, how soon, what is not done twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backend_services import TOKEN, serving
from faulty_servers import Call, answering, first, proxy, unused_url

from synapse_core.backend import FileSpecification, JobLog, NewDataUnit, NewTask
from synapse_core.backend.http import HttpBackend
from synapse_core.errors import (
    BackendConflict,
    BackendError,
    BackendRejected,
    BackendUnauthorized,
    BackendUnavailable,
    InvalidAnswer,
    InvalidRequest,
    RateLimited,
    RecordNotFound,
    StorageConnectionError,
)

PROJECT = json.dumps({"id": 1, "name": "Cars", "data_collection": 1}).encode()


def client(url: str, **options: object) -> HttpBackend:
    return HttpBackend(url, TOKEN, **{"deadline_seconds": 2.5, **options})  # type: ignore[arg-type]


def silent(call: Call) -> None:
    call.stopped.wait(60)


def dripping(call: Call) -> None:
    """Give one byte of an endless answer after the other."""
    call.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not call.stopped.wait(0.1):
        call.connection.sendall(b" ")


def dripping_headers(call: Call) -> None:
    call.connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not call.stopped.wait(0.1):
        call.connection.sendall(b"X: y\r\n")


def replying(*arguments: object, **headers: str) -> Callable[[Call], None]:
    return lambda call: call.reply(*arguments, **headers)  # type: ignore[arg-type]


def raw(data: bytes) -> Callable[[Call], None]:
    return lambda call: call.connection.sendall(data)


HTML = b"<html><body>Please log in</body></html>"
FAULTS: dict[str, tuple[Callable[[Call], None], type[BackendError]]] = {
    "never answers": (silent, BackendUnavailable),
    "answers a byte at a time": (dripping, BackendUnavailable),
    "gives headers without end": (dripping_headers, BackendUnavailable),
    "closes without an answer": (lambda call: None, BackendUnavailable),
    "ends in the middle": (replying(200, PROJECT[:20], Content_Length="999"), BackendUnavailable),
    "500": (replying(500, b'{"detail": "boom"}'), BackendUnavailable),
    "503": (replying(503), BackendUnavailable),
    "a proxy's 502": (replying(502, HTML, "text/html"), BackendUnavailable),
    "429": (replying(429, b"{}", Retry_After="60"), RateLimited),
    "429 until a date": (
        replying(429, b"{}", Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"),
        RateLimited,
    ),
    "401": (replying(401, b'{"detail": "Invalid token."}'), BackendUnauthorized),
    "403": (replying(403, b'{"detail": "Not yours."}'), BackendUnauthorized),
    "400": (replying(400, b'{"name": ["is too long"]}'), BackendRejected),
    "409": (replying(409, b'{"detail": "there already"}'), BackendConflict),
    "422": (replying(422, b'{"detail": [{"loc": ["id"], "msg": "no"}]}'), BackendRejected),
    "404": (replying(404, b'{"detail": "Not found."}'), RecordNotFound),
    "404 of a web site": (replying(404, HTML, "text/html"), InvalidAnswer),
    "HTML": (replying(200, HTML, "text/html"), InvalidAnswer),
    "truncated JSON": (replying(200, PROJECT[:-5]), InvalidAnswer),
    "JSON of another shape": (replying(200, b'{"id": "one", "name": 7}'), InvalidAnswer),
    "a deep hole": (replying(200, b"[" * 100_000), InvalidAnswer),
    "no text": (replying(200, b'{"name": "\xff\xfe"}'), InvalidAnswer),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.7\r\n\r\n"), InvalidAnswer),
    "too much": (replying(200, b"{}", Content_Length=str(10**12)), InvalidAnswer),
    "a redirect": (replying(302, b"", Location="http://127.0.0.1:1/?token=x"), InvalidAnswer),
    "its secrets": (replying(400, f'{{"detail": "wrong: {TOKEN}"}}'.encode()), BackendRejected),
    "its secrets in HTML": (replying(200, f"<p>{TOKEN}".encode(), "text/html"), InvalidAnswer),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_fails_is_told_as_what_it_is(fault: str, caplog: pytest.LogCaptureFixture):
    answer, kind = FAULTS[fault]
    caplog.set_level(logging.DEBUG)
    with answering(answer) as service, client(service.url) as backend:
        begun = time.monotonic()
        with pytest.raises(BackendError) as caught:
            backend.get_project(1)
        seconds = time.monotonic() - begun

        assert type(caught.value) is kind
        assert seconds < 3
        assert caught.value.hint or kind in (BackendRejected, BackendConflict, RecordNotFound)
        assert_no_token(caught.value, backend, caplog)


def assert_no_token(error: BackendError, backend: HttpBackend, caplog: pytest.LogCaptureFixture) -> None:
    shown = (str(error), repr(error), error.hint, error.details, repr(backend), caplog.text)
    told = "\n".join(map(str, (*shown, *traceback.format_exception(error), pickle.dumps(error))))
    assert TOKEN not in told


def test_a_service_that_is_down_is_told_within_the_limit(caplog: pytest.LogCaptureFixture):
    url = unused_url()
    with client(url) as backend:
        begun = time.monotonic()
        with pytest.raises(BackendUnavailable, match="does not answer") as caught:
            backend.check()

        assert time.monotonic() - begun < 3
        assert caught.value.retryable
        assert caught.value.hint
        assert caught.value.details["attempts"] == 4
        assert_no_token(caught.value, backend, caplog)


def test_the_words_of_the_service_reach_the_caller():
    said = {
        "code": "rejected",
        "message": "There is no red.",
        "hint": "Take blue.",
        "details": {"was": "red"},
    }
    with (
        answering(replying(400, json.dumps(said).encode())) as service,
        client(service.url) as backend,
        pytest.raises(BackendRejected, match=r"^There is no red\.$") as caught,
    ):
        backend.create_project("Cars", 1)

    assert caught.value.hint == "Take blue."
    assert caught.value.details["was"] == "red"


def after(times: int, status: int, **headers: str) -> Callable[[Call], None]:
    """Fail some times, then give what was asked for."""
    left = [times]

    def answer(call: Call) -> None:
        if left[0]:
            left[0] -= 1
            call.reply(status, **headers)
        else:
            call.reply(200, b"[]" if call.path == "/data_units/" else PROJECT)

    return answer


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_busy_service_is_asked_again(status: int):
    with answering(after(2, status)) as service, client(service.url) as backend:
        assert backend.get_project(1).name == "Cars"

    assert len(service.calls) == 3


def test_a_service_that_says_when_is_asked_then():
    with answering(after(1, 429, Retry_After="1")) as service, client(service.url) as backend:
        begun = time.monotonic()
        assert backend.get_project(1).name == "Cars"

    assert time.monotonic() - begun >= 1


def test_what_may_have_been_done_is_repeated_only_where_it_bears_a_key():
    unit = NewDataUnit(key="a", files={})
    with answering(after(1, 503)) as service, client(service.url) as backend:
        with pytest.raises(BackendUnavailable):
            backend.create_project("Cars", 1)
        assert len(service.calls) == 1
    with answering(after(1, 503)) as service, client(service.url) as backend:
        assert backend.create_data_units(1, [unit]) == []
        assert len(service.calls) == 2


def test_the_token_goes_to_no_other_host():
    """Neither by a redirect, nor by the next page, nor by the address of an upload."""
    with answering(replying(200, b"{}")) as elsewhere:
        page = json.dumps(
            {"count": 200, "next": f"{elsewhere.url}/projects/?after=1", "results": []}
        ).encode()
        redirect = replying(307, b"", Location=f"{elsewhere.url}/projects/1/")

        def answer(call: Call) -> None:
            call.reply(200, page) if call.path.startswith("/projects/?") else redirect(call)

        with answering(answer) as service, client(service.url) as backend:
            with pytest.raises(InvalidAnswer, match="redirect"):
                backend.get_project(1)
            with pytest.raises(InvalidAnswer, match="outside of the backend"):
                list(backend.list_projects())

        assert elsewhere.calls == []
        assert all(call.headers["synapse-access-token"] == f"token {TOKEN}" for call in service.calls)


def test_pages_that_go_round_in_a_circle_end():
    def answer(call: Call) -> None:
        page = {"count": 9, "next": f"http://{call.headers['host']}/projects/?after=1", "results": []}
        call.reply(200, json.dumps(page).encode())

    with (
        answering(answer) as service,
        client(service.url) as backend,
        pytest.raises(InvalidAnswer, match="twice"),
    ):
        list(backend.list_projects())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/",
        "https://user:secret@host/",
        "http://",
        "https://host/?token=secret",
        "http://a b/",
        "\n",
    ],
)
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str):
    with pytest.raises(InvalidRequest) as caught:
        HttpBackend(url, TOKEN)

    assert "secret" not in str(caught.value)


def test_a_token_that_cannot_be_sent_is_not_shown():
    with (
        HttpBackend(unused_url(), f"{TOKEN}\r\nX-Other: 1") as backend,
        pytest.raises(BackendUnauthorized) as caught,
    ):
        backend.get_project(1)

    assert TOKEN not in f"{caught.value!r} {caught.value.details}"


def test_a_token_can_change_while_the_backend_is_open():
    tokens = iter(["first-token", "second-token"])
    current = [next(tokens)]
    with (
        answering(replying(200, PROJECT)) as service,
        HttpBackend(service.url, lambda: current[0]) as backend,
    ):
        backend.get_project(1)
        current[0] = next(tokens)
        backend.get_project(1)

    assert [call.headers["synapse-access-token"] for call in service.calls] == [
        "token first-token",
        "token second-token",
    ]


# Connections that end while a real service is at work


@pytest.fixture
def service(home: Path) -> Iterator[str]:
    with serving(home) as (url, _backend):
        yield url


def test_what_was_made_is_not_made_twice_when_its_answer_is_lost(service: str, tmp_path: Path):
    """Each of the calls arrives and is carried out; then the connection is cut, and the client asks again."""
    file = tmp_path / "image.png"
    file.write_bytes(b"an image")
    made = [
        *("storages/", "data_files/", "data_collections/", "data_units/", "projects/", "tasks/"),
        *("models/", "plugin_releases/", "ground_truth_dataset_versions/", "logs/"),
    ]
    lost = {path: first(1, "answer", "POST", f"/{path}") for path in made}

    def fault(call: Call) -> str | None:
        return next((wrong for each in lost.values() if (wrong := each(call))), None)

    with proxy(service, fault) as way, HttpBackend(way.url, TOKEN) as backend:
        backend.check()  # the service tells that it knows calls by their keys
        backend.create_storage("Second", "local", {"location": str(tmp_path / "second")})
        image = backend.create_data_file(file)
        collection = backend.create_data_collection("Streets", [FileSpecification(name="image")])
        new = [NewDataUnit(key=key, files={"image": image.file}) for key in "abc"]
        units = backend.create_data_units(collection.id, new)
        project = backend.create_project("Cars", collection.id)
        tasks = backend.create_tasks(project.id, [NewTask(data_unit=unit.id) for unit in units])
        backend.annotate_task_data(tasks[0].id, {"action": "submit", "data": {"images": []}})
        model = backend.create_model("detector", file)
        backend.create_plugin_release("yolo", "1.0", file, config={})
        backend.create_ground_truth_version("Cars", "1", project=project.id)
        backend.create_job("job")
        backend.create_logs([JobLog(job="job", event="log")])

        assert all(way.paths("POST").count(f"/{path}") == 2 for path in made)
        assert [unit.key for unit in backend.list_data_units()] == ["a", "b", "c"]
        assert [task.id for task in backend.list_tasks()] == [task.id for task in tasks]
        assert [(found.id, found.version) for found in backend.list_models()] == [(model.id, "1")]
        assert backend.list_storages({"name": "Second"}).count == 1
        assert backend.list_data_collections().count == backend.list_projects().count == 1
        assert backend.list_plugin_releases().count == backend.list_ground_truth_versions().count == 1
        assert backend.list_job_logs("job").count == 1


def test_a_deletion_whose_answer_is_lost_has_succeeded(service: str, tmp_path: Path):
    file = tmp_path / "best.pt"
    file.write_bytes(b"weights")
    with proxy(service, first(1, "answer", "DELETE", "/models/")) as way, client(way.url) as backend:
        model = backend.create_model("detector", file)

        backend.delete_model(model.id)

        assert len(way.paths("DELETE")) == 2
        with pytest.raises(RecordNotFound):
            backend.delete_model(model.id)


def large_file(folder: Path) -> tuple[Path, str]:
    """Return a file that has to travel in four parts, and its SHA-256."""
    path = folder / "large.bin"
    with path.open("wb") as file:
        file.write(b"begin")
        file.truncate(52_000_000)
        file.seek(0, 2)
        file.write(b"end")
    with path.open("rb") as content:
        return path, hashlib.file_digest(content, "sha256").hexdigest()


@pytest.mark.parametrize("wrong", ["request", "answer"])
def test_a_large_upload_goes_on_where_it_was_cut(service: str, tmp_path: Path, wrong: str):
    path, checksum = large_file(tmp_path)
    puts = itertools.count(1)

    def fault(call: Call) -> str | None:
        # The first opens the upload, the others go to the address that it was given.
        return wrong if call.method == "PUT" and next(puts) in (1, 3) else None

    with proxy(service, fault) as way, HttpBackend(way.url, TOKEN) as backend:
        made = backend.create_data_file(path)

        stored = backend.open_storage().stat(made.file.path)
        assert stored is not None
        assert (made.file.checksum, made.file.name) == (checksum, "large.bin")
        assert stored.size_bytes == made.file.size_bytes == path.stat().st_size
        assert len(way.paths("PUT")) == 4 + 2


def test_a_small_upload_that_is_cut_is_sent_again(service: str, tmp_path: Path):
    path = tmp_path / "image.png"
    path.write_bytes(bytes(300_000))
    with proxy(service, first(1, "request", "POST", "/data_files/")) as way, client(way.url) as backend:
        made = backend.create_data_file(path)

        assert backend.open_storage().read_bytes(made.file.path) == bytes(300_000)
        assert len(list(backend.open_storage().list())) == 1


def test_a_download_that_is_cut_is_begun_again(service: str, tmp_path: Path):
    path = tmp_path / "image.png"
    path.write_bytes(bytes(range(256)) * 2000)
    target = tmp_path / "target.png"
    with proxy(service, first(1, "half", "GET", "/storages/1/files/")) as way, client(way.url) as backend:
        made = backend.create_data_file(path)

        backend.download_file(made.file, target)

    assert target.read_bytes() == path.read_bytes()


def test_a_download_that_is_always_cut_leaves_what_was_there(service: str, tmp_path: Path):
    path = tmp_path / "image.png"
    path.write_bytes(bytes(1000))
    target = tmp_path / "folder" / "target.png"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with proxy(service, first(99, "half", "GET", "/storages/1/files/")) as way, client(way.url) as backend:
        made = backend.create_data_file(path)
        begun = time.monotonic()
        with pytest.raises(StorageConnectionError):
            backend.download_file(made.file, target)

    assert time.monotonic() - begun < 3
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]
