"""BaseInferenceAction: a registered model is on disk once for its content, and nothing else with it."""

from __future__ import annotations

import multiprocessing
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backend_worlds import RecordingLogger
from pydantic import BaseModel

from synapse_core.actions.inference import BaseInferenceAction, InferenceContext
from synapse_core.actions.inference.action import InferenceProgressCategories
from synapse_core.backend import FileReference, Model
from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.errors import ArchiveError, BackendUnavailable, ExecutionError, NoBackend, RecordNotFound
from synapse_core.steps import BaseStep, StepRegistry, StepResult


class InferParams(BaseModel):
    model_id: int = 1
    inputs: list[int] = [1, 2]


class InferAction(BaseInferenceAction[InferParams]):
    """Adds what the model's file says."""

    action_name = "infer"

    def infer(self, model: Any, inputs: list[int]) -> list[dict[str, int]]:
        return [{"prediction": model + one} for one in inputs]

    def execute(self) -> dict[str, Any]:
        info = self.load_model(self.params.model_id)
        self.set_progress(1, 3, self.progress.MODEL_LOAD)
        model = int((info["path"] / "model.txt").read_text())
        return {"results": self.infer(model, self.params.inputs), "name": info["name"]}


def action_on(backend: Any) -> InferAction:
    return InferAction(InferParams(), RuntimeContext(RecordingLogger(), client=backend))


@pytest.fixture
def model(backend: LocalBackend, tmp_path: Path) -> Model:
    """A model that was a folder."""
    folder = tmp_path / "adder"
    (folder / "more").mkdir(parents=True)
    (folder / "model.txt").write_text("40")
    (folder / "more/notes.txt").write_text("x" * 1000)
    return backend.create_model("adder", folder)


class Counting:
    """The backend, which counts downloads and can fail."""

    def __init__(self, backend: LocalBackend, on_download: Callable[[], None] = lambda: None) -> None:
        self._backend = backend
        self._on_download = on_download
        self.downloads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def download_file(self, file: FileReference, target: Path) -> Path:
        self.downloads += 1
        self._on_download()
        return self._backend.download_file(file, target)


def test_a_model_is_loaded_and_used(backend: LocalBackend, model: Model):
    logger = RecordingLogger()
    result = InferAction.dispatch({"model_id": model.id}, RuntimeContext(logger, client=backend))

    assert result == {"results": [{"prediction": 41}, {"prediction": 42}], "name": "adder"}
    assert logger.progress("model_load") == [(1, 3)]
    assert InferAction.progress is InferenceProgressCategories


def test_a_second_load_fetches_nothing(backend: LocalBackend, model: Model):
    counting = Counting(backend)
    first = action_on(counting).load_model(model.id)
    again = action_on(counting).load_model(model.id)

    assert counting.downloads == 1
    assert first == again
    assert (first["id"], first["version"], first["path"].name[:64]) == (1, "1", model.file.checksum)


def test_the_homes_copy_is_no_place_to_write_to(backend: LocalBackend, model: Model, tmp_path: Path):
    action = action_on(backend)
    mine = action.download_model(model.id, tmp_path / "mine")
    (mine / "model.txt").write_text("changed")
    assert action.download_model(model.id, mine) == mine

    kept = action.download_model(model.id)
    assert not any(path.stat().st_mode & 0o222 for path in kept.rglob("*") if path.is_file())
    assert (mine / "model.txt").read_text() == (kept / "model.txt").read_text() == "40"
    assert (mine / "more/notes.txt").is_file()


def test_a_model_of_one_file_is_a_folder_with_it(backend: LocalBackend, tmp_path: Path):
    # Weights of torch are zip archives inside; only what is called one is unpacked.
    weights = tmp_path / "best.pt"
    with zipfile.ZipFile(weights, "w") as written:
        written.writestr("data.pkl", b"x")
    model = backend.create_model("net", weights)

    folder = action_on(backend).download_model(model.id)
    assert [path.name for path in folder.iterdir()] == ["best.pt"]
    assert (folder / "best.pt").read_bytes() == weights.read_bytes()


def test_a_hostile_archive_is_not_unpacked(backend: LocalBackend, tmp_path: Path, home: Path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as written:
        written.writestr("../../../evil.txt", b"x")
    model = backend.create_model("evil", tmp_path / "evil.zip")

    with pytest.raises(ArchiveError, match="leads elsewhere"):
        action_on(backend).load_model(model.id)
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list((home / "cache/models").iterdir())


def test_a_model_that_is_too_large_is_not_unpacked(backend: LocalBackend, model: Model):
    class Small(InferAction):
        most_model_bytes = 100

    with pytest.raises(ArchiveError, match="the limit is 100"):
        Small(InferParams(), RuntimeContext(RecordingLogger(), client=backend)).load_model(model.id)


def test_a_download_that_fails_leaves_nothing(backend: LocalBackend, model: Model, home: Path):
    def fail() -> None:
        raise BackendUnavailable("The backend is down.")

    with pytest.raises(BackendUnavailable):
        action_on(Counting(backend, fail)).load_model(model.id)
    assert not list((home / "cache/models").iterdir())
    assert action_on(backend).load_model(model.id)["path"].is_dir()


def _load(home: Path, model_id: int, together: Any, answers: Any) -> None:
    """Load a model in a process of its own. SYNAPSE_HOME came with it."""
    backend = LocalBackend(home)
    counting = Counting(backend)
    together.wait()
    path = action_on(counting).load_model(model_id)["path"]
    answers.put((str(path), (path / "model.txt").read_text(), counting.downloads))
    backend.close()


def test_two_processes_load_a_model_at_the_same_time(backend: LocalBackend, model: Model, home: Path):
    """Takes as long as two interpreters need to start."""
    spawning = multiprocessing.get_context("spawn")
    together, answers = spawning.Barrier(2), spawning.Queue()
    processes = [spawning.Process(target=_load, args=(home, model.id, together, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)

    assert len({(path, text) for path, text, _ in found}) == 1
    assert sum(downloads for _, _, downloads in found) == 1
    assert [path.name for path in (home / "cache/models").iterdir()] == [Path(found[0][0]).name]


def test_what_is_missing_is_said(backend: LocalBackend):
    class Silent(BaseInferenceAction[InferParams]):
        """Does not say how it predicts."""

    with pytest.raises(RecordNotFound):
        action_on(backend).load_model(99)
    with pytest.raises(NoBackend, match="InferAction needs a backend"):
        action_on(None).get_model(1)
    with pytest.raises(ExecutionError, match="does not say how it predicts"):
        Silent(InferParams(), RuntimeContext(RecordingLogger())).infer(None, [])


class _PredictStep(BaseStep[InferenceContext]):
    name = "predict"
    progress_weight = 1.0

    def execute(self, context: InferenceContext) -> StepResult:
        assert context.client.get_model(context.model_id or 0)["name"] == "adder"
        context.results = [one + 40 for one in context.params["inputs"]]
        context.processed_count = len(context.results)
        return StepResult()


class StepAction(BaseInferenceAction[InferParams]):
    """Predicts in a step."""

    def setup_steps(self, registry: StepRegistry[InferenceContext]) -> None:
        registry.register(_PredictStep())


def test_steps_do_it_as_well(backend: LocalBackend, model: Model):
    result = StepAction.dispatch({}, RuntimeContext(RecordingLogger(), client=backend))

    assert result == {
        "success": True,
        "steps_executed": 1,
        "steps_total": 1,
        "processed_count": 2,
        "results": [41, 42],
    }
