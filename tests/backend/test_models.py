"""The contract: models, plugin releases, serve applications, jobs and their logs."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import pytest

from synapse_core.backend import Backend, JobLog
from synapse_core.errors import BackendConflict, BackendRejected, RecordNotFound, StorageError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")
    return path


# Models


def test_a_model_keeps_where_it_came_from(backend: Backend, weights: Path, annotation):
    dataset = backend.create_ground_truth_version("Cars", "1", project=annotation.project.id)
    base = backend.create_model("base", weights)

    made = backend.create_model(
        "detector",
        weights,
        version="1.0",
        plugin="yolo",
        plugin_version="2.1",
        checkpoint=base.id,
        run_id="run-1",
        dataset=dataset.id,
        metrics={"mAP": 0.5, "epochs": 3},
        configuration={"classes": ["car"]},
        description="of the night",
    )

    assert backend.get_model(made.id) == made
    assert (made.checkpoint, made.dataset, made.run_id) == (base.id, dataset.id, "run-1")
    assert made.metrics == {"mAP": 0.5, "epochs": 3}
    assert made.configuration == {"classes": ["car"]}
    assert made.created > 1e9
    assert backend.download_file(made.file, weights.parent / "back.pt").read_bytes() == b"weights"
    assert list(backend.list_models({"plugin": "yolo", "dataset": dataset.id})) == [made]
    assert list(backend.list_models(after=base.id)) == [made]


def test_versions_are_counted_where_none_is_given(backend: Backend, tmp_path: Path):
    def make(content: bytes, **options: Any) -> str:
        path = tmp_path / "best.pt"
        path.write_bytes(content)
        return backend.create_model("detector", path, **options).version

    assert make(b"one") == "1"
    assert make(b"two") == "2"
    assert make(b"nine", version="9") == "9"
    assert make(b"named", version="beta") == "beta"
    assert make(b"ten") == "10"
    # A call that is repeated because its answer was lost changes nothing.
    assert make(b"ten") == "10"
    # Another run may well come to the same weights.
    assert make(b"ten", run_id="run-2") == "11"
    assert backend.list_models().count == 6


def test_the_same_version_with_another_content_is_a_conflict(backend: Backend, weights: Path):
    first = backend.create_model("detector", weights, version="1")

    assert backend.create_model("detector", weights, version="1") == first
    weights.write_bytes(b"others")
    with pytest.raises(BackendConflict, match="'detector' has a version '1'"):
        backend.create_model("detector", weights, version="1")
    assert list(backend.list_models()) == [first]


def test_a_folder_becomes_one_archive(backend: Backend, tmp_path: Path):
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    (folder / "variables" / "data").write_bytes(b"\x00" * 1000)

    made = backend.create_model("detector", folder)
    again = backend.create_model("detector", folder)

    assert again == made
    assert made.file.name == "saved_model.zip"
    with zipfile.ZipFile(backend.download_file(made.file, tmp_path / "back.zip")) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        assert sorted(names) == ["model.json", "variables/data"]

    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(BackendRejected, match="link"):
        backend.create_model("detector", folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackendRejected, match="no files"):
        backend.create_model("detector", tmp_path / "empty")
    assert backend.list_models().count == 1


def test_what_a_model_refers_to_must_be_there(backend: Backend, weights: Path):
    with pytest.raises(RecordNotFound, match="model 99"):
        backend.create_model("detector", weights, checkpoint=99)
    with pytest.raises(RecordNotFound, match="ground truth version 99"):
        backend.create_model("detector", weights, dataset=99)
    with pytest.raises((BackendRejected, StorageError)):
        backend.create_model("detector", weights.parent / "nothing.pt")
    with pytest.raises(BackendRejected, match="metrics"):
        backend.create_model("detector", weights, metrics={"loss": math.nan})
    assert backend.list_models().count == 0


def test_a_model_is_deleted_with_its_file_unless_another_has_the_same(backend: Backend, weights: Path):
    one = backend.create_model("one", weights)
    two = backend.create_model("two", weights)
    served = backend.create_serve_application("app", model=two.id)
    storage = backend.open_storage(one.file.storage)

    backend.delete_model(one.id)
    assert storage.exists(one.file.path)
    backend.delete_model(two.id)
    assert not storage.exists(one.file.path)

    assert backend.list_models().count == 0
    assert [app.model for app in backend.list_serve_applications({"id": served.id})] == [None]
    with pytest.raises(RecordNotFound, match=f"model {one.id}"):
        backend.delete_model(one.id)


# Plugin releases


def test_a_release_is_found_by_its_lookup(backend: Backend, weights: Path):
    made = backend.create_plugin_release(
        "yolo", "1.2.0", weights, config={"code": "yolo", "actions": {"train": {}}}, requirements=["torch>=2"]
    )

    assert made.lookup == "yolo@1.2.0"
    assert (made.checksum, made.size_bytes) == (made.file.checksum, 7)
    assert made.config == {"code": "yolo", "actions": {"train": {}}}
    assert made.requirements == ("torch>=2",)
    assert backend.get_plugin_release("yolo@1.2.0") == made
    assert backend.get_plugin_release(made.id) == made
    assert list(backend.list_plugin_releases({"plugin": "yolo"})) == [made]
    for missing in ("yolo@9", "other@1.2.0", "yolo", 99):
        with pytest.raises(RecordNotFound):
            backend.get_plugin_release(missing)


def test_publishing_again_is_the_release_that_is_there(backend: Backend, weights: Path):
    first = backend.create_plugin_release("yolo", "1", weights, config={})

    assert backend.create_plugin_release("yolo", "1", weights, config={"changed": True}) == first
    weights.write_bytes(b"others")
    with pytest.raises(BackendConflict, match="yolo@1"):
        backend.create_plugin_release("yolo", "1", weights, config={})
    assert backend.create_plugin_release("yolo", "2", weights, config={}).id > first.id


# Serve applications


def test_a_deployment_is_registered_once_for_a_name(backend: Backend, weights: Path):
    model = backend.create_model("detector", weights)
    first = backend.create_serve_application("app", job="run-1", model=model.id, data={"route": "/app"})

    changed = backend.create_serve_application("app", status="RUNNING")

    assert (first.status, first.data) == ("DEPLOYING", {"route": "/app"})
    assert (changed.id, changed.status) == (first.id, "RUNNING")
    assert (changed.job, changed.model, changed.data) == ("run-1", model.id, {"route": "/app"})
    assert list(backend.list_serve_applications({"status": "RUNNING"})) == [changed]
    with pytest.raises(RecordNotFound, match="model 99"):
        backend.create_serve_application("app", model=99)
    backend.delete_serve_application(first.id)
    assert backend.list_serve_applications().count == 0
    with pytest.raises(RecordNotFound, match=f"serve application {first.id}"):
        backend.delete_serve_application(first.id)


# Jobs


def test_a_job_is_told_what_became_of_it(backend: Backend):
    made = backend.create_job("run-1", plugin="yolo", action="train")
    assert (made.status, made.progress_record, made.result) == ("PENDING", {}, None)

    backend.update_job("run-1", status="RUNNING", progress_record={"train": {"percent": 10}})
    backend.update_job("run-1", metrics_record={"loss": 0.5}, meta={"host": "a"})
    ended = backend.update_job("run-1", status="SUCCEEDED", result={"weights": [1, None]})

    assert ended == backend.get_job("run-1")
    assert (ended.plugin, ended.action, ended.status) == ("yolo", "train", "SUCCEEDED")
    assert ended.progress_record == {"train": {"percent": 10}}
    assert (ended.metrics_record, ended.meta) == ({"loss": 0.5}, {"host": "a"})
    assert ended.result == {"weights": [1, None]}
    assert backend.create_job("run-1", plugin="other") == ended
    assert [job.id for job in backend.list_jobs({"status": ["SUCCEEDED", "FAILED"]})] == ["run-1"]


def test_a_job_that_is_not_there_or_a_status_that_is_none(backend: Backend):
    backend.create_job("run-1")

    with pytest.raises(BackendRejected, match="PENDING, RUNNING"):
        backend.update_job("run-1", status="EXPLODED")
    with pytest.raises(RecordNotFound, match="job 'run-2'"):
        backend.update_job("run-2", status="RUNNING")
    with pytest.raises(RecordNotFound, match="job 'run-2'"):
        backend.get_job("run-2")
    with pytest.raises(RecordNotFound, match="job 'run-2'"):
        backend.list_job_logs("run-2")
    with pytest.raises(RecordNotFound, match="job 'run-2'"):
        backend.create_logs([JobLog(job="run-1", event="log"), JobLog(job="run-2", event="log")])
    assert backend.list_job_logs("run-1").count == 0


def test_logs_are_read_from_where_a_reader_was(backend: Backend):
    for name in ("run-1", "run-2"):
        backend.create_job(name)
    logs = [
        JobLog(job="run-1", event="log", data={"n": n, "text": "줄"}, level="info", step="train", at=5.0 + n)
        for n in range(250)
    ]

    assert backend.create_logs([*logs, JobLog(job="run-2", event="other")]) == 251

    found = list(backend.list_job_logs("run-1"))
    assert [(entry.data, entry.step, entry.at) for entry in found] == [
        (entry.data, entry.step, entry.at) for entry in logs
    ]
    rest = backend.list_job_logs("run-1", after=found[199].id)
    assert (rest.count, [entry.data["n"] for entry in rest]) == (50, list(range(200, 250)))
    (other,) = backend.list_job_logs("run-2")
    assert other.at > 1e9
    assert backend.create_logs([]) == 0
