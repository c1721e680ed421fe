"""Exports: six steps, every item on its own, and a storage that is as it was where an export fails."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from backend_services import TOKEN
from backend_worlds import RecordingLogger, World, context_of, seed, snapshot

from synapse_core import actions
from synapse_core.actions import results
from synapse_core.actions.export import (
    BaseExportAction,
    DefaultExportAction,
    Exporter,
    ExportParams,
    ExportStatus,
    TargetHandler,
    register_target_handler,
    targets,
)
from synapse_core.actions.export.action import ExportProgressCategories
from synapse_core.backend import Assignment, Listing
from synapse_core.backend.http import HttpBackend
from synapse_core.backend.local import LocalBackend
from synapse_core.backend.service import Service, create_app
from synapse_core.errors import (
    BackendRejected,
    BackendUnavailable,
    NoBackend,
    RecordNotFound,
    RunStopped,
    StepFailed,
    ValidationError,
)
from synapse_core.events import Message, Progress
from synapse_core.executors import LocalExecutor
from synapse_core.schemas import ExportResult
from synapse_core.steps import BaseStep, StepRegistry, StepResult

STEPS = ["initialize", "fetch_results", "prepare_export", "convert_data", "save_files", "finalize"]


def export(
    world: World,
    action: Any = DefaultExportAction,
    logger: RecordingLogger | None = None,
    backend: Any = None,
    **params: Any,
) -> dict[str, Any]:
    """Export the world's assignments, unless told otherwise."""
    asked = {"filter": {"project": world.project.id}, **params}
    done = LocalExecutor().execute(action, asked, context=context_of(world, logger, backend))
    assert isinstance(done, dict)
    return done


def folder_of(result: dict[str, Any]) -> Path:
    return Path(unquote(result["output_path"].removeprefix("file://")))


def files(result: dict[str, Any]) -> list[str]:
    root = folder_of(result)
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_an_export_needs_no_more_than_a_project(world: World):
    logger = RecordingLogger()
    result = export(world, logger=logger)

    assert logger.steps() == STEPS
    assert (result["exported_count"], result["failed_count"], result["total_count"]) == (5, 0, 5)
    assert files(result) == [
        *(f"labels/car{number}.json" for number in range(5)),
        *(f"origin_files/car{number}.png" for number in range(5)),
    ]
    root = folder_of(result)
    for number, assignment in enumerate(world.assignments):
        assert json.loads((root / f"labels/car{number}.json").read_text()) == assignment.data
        image = (world.home / f"{number}.png").read_bytes()
        assert (root / f"origin_files/car{number}.png").read_bytes() == image
    assert ExportResult.model_validate(result).file_size_bytes == sum(
        (root / name).stat().st_size for name in files(result)
    )


def test_the_steps_have_the_promised_weights(world: World):
    registry: StepRegistry[Any] = StepRegistry()
    DefaultExportAction(ExportParams(), context_of(world)).setup_steps(registry)

    found = [(step.name, step.progress_weight) for step in registry.get_steps()]
    assert found == list(zip(STEPS, (0.05, 0.10, 0.10, 0.30, 0.35, 0.10), strict=True))
    assert [type(step).__name__ for step in registry.get_steps()] == [
        *("InitializeStep", "FetchResultsStep", "PrepareExportStep"),
        *("ConvertDataStep", "SaveFilesStep", "FinalizeStep"),
    ]


def test_progress_and_metrics_are_told_by_their_categories(world: World):
    logger = RecordingLogger()
    export(world, logger=logger)

    for category in ("fetch", "dataset_conversion", "original_file", "data_file"):
        assert logger.progress(category)[-1] == (5, 5), category
    done = {"stand_by": 0, "success": 5, "failed": 0}
    assert logger.metrics("data_file") == [{"stand_by": 5, "success": 0, "failed": 0}, done]
    assert logger.metrics("original_file")[-1] == done
    assert actions.ExportProgressCategories is ExportProgressCategories
    assert BaseExportAction.progress.FETCH == "fetch"


def test_a_second_export_of_a_name_gets_a_folder_of_its_own(world: World):
    names = [folder_of(export(world, name="mine", path="here/there")) for _ in range(3)]

    assert [name.parts[-3:] for name in names] == [
        ("here", "there", "mine"),
        ("here", "there", "mine(1)"),
        ("here", "there", "mine(2)"),
    ]


def test_an_export_into_a_storage_of_objects(world: World):
    place = world.backend.create_storage("elsewhere", "memory", {"location": world.home.name + "-objects"})
    storage = world.backend.open_storage(place.id)
    storage.write_bytes("exports/export/mine.txt", b"was here before")
    before = snapshot(world)

    class Failing(DefaultExportAction[ExportParams]):
        def additional_file_saving(self, unique_export_path: Any) -> None:
            (unique_export_path / "more/readme.txt").write_text("hello")
            raise ValueError("at the very end")

    with pytest.raises(StepFailed, match="at the very end"):
        export(world, Failing, storage=place.id)
    assert snapshot(world) == before

    result = export(world, storage=place.id)
    assert result["output_path"].endswith("exports/export(1)")
    names = [name for name, _ in storage.list("exports/export(1)")]
    assert names == [
        *(f"exports/export(1)/labels/car{number}.json" for number in range(5)),
        *(f"exports/export(1)/origin_files/car{number}.png" for number in range(5)),
    ]
    assert storage.read_bytes(names[-1]) == (world.home / "4.png").read_bytes()
    storage.delete_tree("exports")


def test_exports_at_the_same_time_do_not_share_a_folder(world: World):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: export(world), range(4)))

    assert len({result["output_path"] for result in done}) == 4
    assert [result["exported_count"] for result in done] == [5] * 4


def test_originals_can_be_left_out(world: World):
    result = export(world, save_original_file=False)

    assert files(result) == [f"labels/car{number}.json" for number in range(5)]


def test_where_there_is_nothing_to_export_that_is_no_failure(world: World):
    logger = RecordingLogger()
    result = export(world, logger=logger, filter={"project": world.project.id, "tags": ["none"]})

    assert logger.steps() == [
        "initialize",
        "fetch_results",
        "(prepare_export)",
        "(convert_data)",
        "(save_files)",
        "finalize",
    ]
    assert (result["exported_count"], result["total_count"], files(result)) == (0, 0, [])


@pytest.mark.parametrize("target", ["assignment", "ground_truth", "task"])
def test_each_target_is_exported(world: World, target: str):
    version = world.backend.create_ground_truth_version("cars", "1", project=world.project.id)
    asked = {"ground_truth_dataset_version": version.id} if target == "ground_truth" else None
    result = export(world, target=target, **({"filter": asked} if asked else {}))

    # The sixth task has no annotations.
    assert (result["exported_count"], result["failed_count"]) == (5, int(target == "task"))


def test_another_target_can_be_registered(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(targets, "_HANDLERS", dict(targets._HANDLERS))
    unit = TargetHandler(
        required="data_collection",
        records=lambda client, filters, after: client.list_data_units(filters, after=after),
        project=lambda client, filters: None,
    )
    register_target_handler("data_unit", unit)

    class UnitExport(DefaultExportAction[ExportParams]):
        def convert_data(self, data: Any) -> Any:
            return {"unit": data["id"]}

    result = export(world, UnitExport, target="data_unit", filter={"data_collection": world.collection.id})
    assert result["exported_count"] == 6
    with pytest.raises(ValidationError, match="data_unit"):
        export(world, target="data_units")


@pytest.mark.parametrize(
    ("params", "error", "told"),
    [
        ({"filter": {}}, BackendRejected, "'project' is missing"),
        ({"filter": {"project": 1, "colour": "red"}}, BackendRejected, "colour"),
        ({"storage": 99}, RecordNotFound, "99"),
        ({"filter": {"project": 99}}, None, ""),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_nothing(
    world: World, params: dict[str, Any], error: type[Exception] | None, told: str
):
    before = snapshot(world)
    if error is None:
        assert export(world, **params)["total_count"] == 0
        return
    with pytest.raises(StepFailed) as caught:
        export(world, **params)

    assert isinstance(caught.value.__cause__, error)
    assert told in str(caught.value)
    assert snapshot(world) == before


@pytest.mark.parametrize("name", ["", "  ", "../up", "a/b", "CON", "x\ny", "."])
def test_a_name_is_one_folder(world: World, name: str):
    with pytest.raises(ValidationError):
        export(world, name=name)


def test_without_a_backend_the_error_says_what_gives_one(world: World):
    context = context_of(world)
    context.client = None
    with pytest.raises(StepFailed) as caught:
        LocalExecutor().execute(DefaultExportAction, {"filter": {"project": 1}}, context=context)

    assert isinstance(caught.value.__cause__, NoBackend)


# What a plugin changes


class Hooked(Exporter):
    """Converts to a list of classes, and writes one file more."""

    label_output_dirname = "data"

    def before_convert(self, data: Any) -> Any:
        return {**data, "boxes": data["data"]["images"][0]["bounding_box"]}

    def convert_data(self, data: Any) -> Any:
        return [box["classification"] for box in data["boxes"]]

    def after_convert(self, data: Any) -> Any:
        return {"classes": data, **self.params["names"]}

    def get_original_file_name(self, files: Any) -> str:
        return (
            f"x_{files['file_name_original']}"
            if files["file_name_original"].startswith("car")
            else super().get_original_file_name(files)
        )

    def additional_file_saving(self, unique_export_path: Any) -> None:
        (unique_export_path / "count.txt").write_text(str(self.params["count"]))


def test_an_exporter_is_the_entrypoint(world: World):
    class HookedExport(DefaultExportAction[ExportParams]):
        entrypoint = Hooked

    result = export(world, HookedExport, extra_params={"names": {"by": "me"}})

    root = folder_of(result)
    assert json.loads((root / "data/x_car0.json").read_text()) == {"classes": ["car"], "by": "me"}
    assert (root / "origin_files/x_car0.png").is_file()
    assert (root / "count.txt").read_text() == "5"


def test_all_items_can_go_into_one_file_without_a_complaint(world: World):
    class OneFile(DefaultExportAction[ExportParams]):
        label_output_dirname = None
        original_output_dirname = "images"

        def save_as_json(self, result: Any, base_path: Any, error_file_list: Any) -> Any:
            self.taken = [*getattr(self, "taken", []), result["id"]]
            return ExportStatus.STAND_BY

        def additional_file_saving(self, unique_export_path: Any) -> None:
            (unique_export_path / "all.json").write_text(json.dumps(self.taken))

    class LosingOne(OneFile):
        def save_as_json(self, result: Any, base_path: Any, error_file_list: Any) -> Any:
            super().save_as_json(result, base_path, error_file_list)
            return ExportStatus.SUCCESS

    logger, losing = RecordingLogger(), RecordingLogger()
    result = export(world, OneFile, logger)
    export(world, LosingOne, losing)

    assert files(result) == ["all.json", *(f"images/car{number}.png" for number in range(5))]
    assert json.loads((folder_of(result) / "all.json").read_text()) == [one.id for one in world.assignments]
    assert "data files are there" not in logger.texts()
    assert "data files are there" in losing.texts()


def test_a_subclass_needs_no_generic_argument_and_hooks_can_be_its_own(world: World):
    class Own(DefaultExportAction):  # type: ignore[type-arg]
        def convert_data(self, data: Any) -> Any:
            return {**data, "data": {"seen": data["id"]}}

    root = folder_of(export(world, Own))
    assert json.loads((root / "labels/car0.json").read_text()) == {"seen": world.assignments[0].id}


def test_steps_can_be_added_and_taken_out(world: World):
    class Counting(BaseStep[Any]):
        name = "count"
        progress_weight = 0.1

        def execute(self, context: Any) -> StepResult:
            # Going through the items does not use them up.
            classes = [len(item["data"]["images"]) for item in context.converted_items]
            return StepResult(data={"items": len(classes)})

    class Custom(BaseExportAction[ExportParams]):
        def setup_steps(self, registry: StepRegistry[Any]) -> None:
            super().setup_steps(registry)
            registry.insert_before("save_files", Counting())
            registry.unregister("prepare_export")

    logger = RecordingLogger()
    assert export(world, Custom, logger)["exported_count"] == 5
    assert logger.steps() == [*STEPS[:2], "convert_data", "count", *STEPS[4:]]


def test_a_simple_action_does_all_of_it_in_execute(world: World):
    class Simple(BaseExportAction[ExportParams]):
        def get_filtered_results(self, filters: Any) -> tuple[Any, int]:
            return self.client.get_assignments(filters)

        def execute(self) -> dict[str, Any]:
            found, count = self.get_filtered_results(self.params.filter)
            for number, item in enumerate(found, start=1):
                assert item["data"]
                self.set_progress(number, count, self.progress.DATASET_CONVERSION)
            project = self.params.filter["project"]
            return {
                "exported": count,
                "classes": self.get_project_configuration(project),
                "project": self.get_project(project)["name"],
                "storage": self.get_storage(world.collection.storage).configuration["location"],
            }

    result = export(world, Simple)
    assert (result["exported"], result["classes"], result["project"]) == (5, {"classes": ["car"]}, "cars")
    assert Path(result["storage"]).is_dir()


def test_records_of_another_kind_go_through_the_steps(world: World):
    class Other(DefaultExportAction[ExportParams]):
        def get_filtered_results(self, filters: Any) -> tuple[Any, int]:
            return [{"id": 7, "data": {"a": 1}, "files": {}}, {"id": 8, "data": {"a": 2}, "files": {}}], 2

    logger = RecordingLogger()
    assert files(export(world, Other, logger)) == ["labels/item_7.json", "labels/item_8.json"]
    assert "2 items have no original file" in logger.texts()


# One item that fails


def test_one_failing_item_does_not_stop_the_others(world: World):
    bad, worse = world.assignments[1].id, world.assignments[3].id

    class Failing(DefaultExportAction[ExportParams]):
        def convert_data(self, data: Any) -> Any:
            if data["id"] == bad:
                raise ValueError("no such class")
            return None if data["id"] == worse else data

    broken = world.units[0].files["image"]
    storage = world.backend.open_storage(broken.storage)
    storage.write_bytes(broken.path, b"other bytes")
    logger = RecordingLogger()
    result = export(world, Failing, logger)

    assert (result["exported_count"], result["failed_count"]) == (2, 3)
    report = json.loads((folder_of(result) / "error_file_list.json").read_text())
    assert report["json_file_name"] == [
        ["car1.png", "ValueError: no such class"],
        ["car3.png", "it has no data"],
    ]
    assert [name for name, _ in report["origin_file_name"]] == ["car0.png"]
    assert logger.metrics("data_file")[-1] == {"stand_by": 0, "success": 3, "failed": 2}
    assert logger.metrics("original_file")[-1] == {"stand_by": 0, "success": 4, "failed": 1}


def test_where_everything_fails_the_export_does(world: World):
    class Failing(DefaultExportAction[ExportParams]):
        def save_as_json(self, result: Any, base_path: Any, error_file_list: Any) -> Any:
            return "failed"

    before = snapshot(world)
    with pytest.raises(StepFailed, match="None of the 5 items"):
        export(world, Failing)
    assert snapshot(world) == before


def test_data_that_is_no_json_fails_its_item_alone(world: World):
    class Odd(DefaultExportAction[ExportParams]):
        def convert_data(self, data: Any) -> Any:
            odd = {0: float("nan"), 1: {1, 2}, 2: "\ud800"}
            return odd.get(data["id"] - world.assignments[0].id, data)

    result = export(world, Odd, save_original_file=False)
    assert (result["exported_count"], result["failed_count"]) == (2, 3)


# Names


class Renaming(LocalBackend):
    """Tells other file names than it has, as a backend of somebody else may."""

    names: tuple[str, ...] = ()

    def list_assignments(self, filters: Any = None, *, after: int | None = None) -> Listing[Assignment]:
        found = super().list_assignments(filters, after=after)
        first = next(iter(super().list_assignments())).id

        def renamed() -> Iterator[list[Assignment]]:
            for record in found:
                file = msgspec.structs.replace(record.files["image"], name=self.names[record.id - first])
                yield [msgspec.structs.replace(record, files={"image": file})]

        return Listing(found.count, renamed)


def test_hostile_names_are_made_safe_and_told(world: World, home: Path):
    hostile = Renaming(home)
    hostile.names = ("../../etc/passwd", "CON.png", "x" * 300 + ".png", "a\n\x1b[2J\u202egnp.png", "..")
    logger = RecordingLogger()
    result = export(world, logger=logger, backend=hostile)
    hostile.close()

    assert files(result) == sorted(
        [
            "filename_collisions.json",
            *(f"labels/{stem}.json" for stem in ("_CON", "a__[2J_gnp", "item_5", "passwd", "x" * 196)),
            *("origin_files/_CON.png", "origin_files/a__[2J_gnp.png", "origin_files/item_5"),
            *("origin_files/passwd", f"origin_files/{'x' * 196}.png"),
        ]
    )
    told = json.loads((folder_of(result) / "filename_collisions.json").read_text())
    assert [entry["file_name"] for entry in told] == list(hostile.names)
    assert "5 files have another name than before" in logger.texts()


def test_items_of_one_name_are_told_apart_by_their_ids(backend: LocalBackend, tmp_path: Path):
    world = seed(backend, tmp_path / "images", ["a.png", "A.png", "a.png", "a__3.png"])
    result = export(world)

    # Names that differ in case alone are one name on some file systems.
    assert [name for name in files(result) if name.startswith("origin_files/")] == [
        *("origin_files/A__2.png", "origin_files/a.png", "origin_files/a__3.png", "origin_files/a__3__4.png"),
    ]
    assert result["exported_count"] == 4
    entries = json.loads((folder_of(result) / "filename_collisions.json").read_text())
    assert {entry["reason"] for entry in entries} == {"another item has this name"}


# A backend that breaks off


class Breaking(LocalBackend):
    """Breaks off each listing after two records, as often as `breaks` says."""

    breaks = 0

    def list_assignments(self, filters: Any = None, *, after: int | None = None) -> Listing[Assignment]:
        found = super().list_assignments(filters, after=after)

        def pages() -> Iterator[list[Assignment]]:
            for number, record in enumerate(found):
                if number == 2 and self.breaks:
                    self.breaks -= 1
                    raise BackendUnavailable("The connection was lost.")
                yield [record]

        return Listing(found.count, pages)


@pytest.fixture
def breaking(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Breaking]:
    monkeypatch.setattr(results, "FIRST_WAIT_SECONDS", 0.001)
    opened = Breaking(home)
    yield opened
    opened.close()


def test_a_listing_that_breaks_off_is_resumed_behind_its_last_record(world: World, breaking: Breaking):
    breaking.breaks = 2
    logger = RecordingLogger()
    result = export(world, logger=logger, backend=breaking)

    assert result["exported_count"] == 5
    assert len(files(result)) == 10
    assert logger.texts().count("The connection was lost.") == 2


def test_an_export_goes_on_behind_a_service_that_was_restarted(tmp_path: Path):
    home = tmp_path / "served"
    first = LocalBackend(home)
    world = seed(first, tmp_path / "images", ["a.png"])
    multiply(home, 150)
    service = Service(create_app(first, TOKEN, home / "service"))
    url = service.start()
    # The client itself does not try again, so that it is the export that does.
    client = HttpBackend(url, TOKEN, retries=0)
    restarted: list[Service] = []

    def before(event: Any) -> None:
        if isinstance(event, Progress) and event.category == "data_file" and 0 < event.current < 100:
            service.stop()  # a second time does nothing
        if isinstance(event, Message) and "Asking again" in event.text:
            port = int(url.rpartition(":")[2])
            restarted.append(Service(create_app(first, TOKEN, home / "service"), port=port))
            restarted[-1].start()

    try:
        result = export(
            world, logger=RecordingLogger(before), backend=client, save_original_file=False, name="served"
        )
    finally:
        client.close()
        for one in restarted:
            one.stop()
    with first.open_storage() as storage:
        names = [name.removeprefix("exports/served/") for name, _ in storage.list("exports/served")]
    first.close()

    assert len(restarted) == 1, result
    assert (result["exported_count"], result["failed_count"]) == (150, 0)
    assert names == sorted(["labels/a.json", *(f"labels/a{number}.json" for number in range(2, 151))])


def test_a_backend_that_stays_away_fails_the_export_and_leaves_nothing(
    world: World, breaking: Breaking, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int | None] = []

    def gone(*arguments: Any) -> Any:
        asked.append(None)
        raise BackendUnavailable("It is down.")

    monkeypatch.setattr(breaking, "download_file", gone)
    before = snapshot(world)
    with pytest.raises(StepFailed) as caught:
        export(world, backend=breaking)

    assert isinstance(caught.value.__cause__, BackendUnavailable)
    assert len(asked) == 6  # once, and five times more
    assert snapshot(world) == before


# Whatever goes wrong, and whenever


def interrupted(world: World, at: int, how: Callable[[], None]) -> RecordingLogger:
    """Export with something happening right before the event of this number. Returns what was recorded."""
    seen = 0

    def before(event: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == at + 1:
            how()

    return RecordingLogger(before)


def test_a_failure_at_any_event_leaves_storage_and_backend_as_they_were(
    backend: LocalBackend, tmp_path: Path
):
    world = seed(backend, tmp_path / "images", ["a.png", "b.png"])
    whole = RecordingLogger()
    export(world, logger=whole)
    before = snapshot(world)

    def break_down() -> None:
        raise RuntimeError("injected")

    for at in range(len(whole.events)):
        logger = interrupted(world, at, break_down)
        with pytest.raises(Exception, match="injected"):
            export(world, logger=logger)
        assert snapshot(world) == before, f"after a failure at event {at}, {whole.events[at]}"
    assert len(whole.events) > 20


def test_a_stop_at_any_event_leaves_storage_and_backend_as_they_were(backend: LocalBackend, tmp_path: Path):
    world = seed(backend, tmp_path / "images", ["a.png", "b.png"])
    whole = RecordingLogger()
    export(world, logger=whole)
    before = snapshot(world)
    for at in range(len(whole.events)):
        context = context_of(world)
        context.logger = interrupted(world, at, context.stop.request)
        with pytest.raises(RunStopped):
            LocalExecutor().execute(
                DefaultExportAction, {"filter": {"project": world.project.id}}, context=context
            )
        assert snapshot(world) == before, f"after a stop at event {at}, {whole.events[at]}"


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_after_any_step_takes_all_of_it_back(world: World, step: str):
    class Broken(BaseStep[Any]):
        name = "broken"
        progress_weight = 0.1

        def execute(self, context: Any) -> StepResult:
            return StepResult(success=False, error="injected")

    class Action(DefaultExportAction[ExportParams]):
        def setup_steps(self, registry: StepRegistry[Any]) -> None:
            super().setup_steps(registry)
            registry.insert_after(step, Broken())

    before = snapshot(world)
    logger = RecordingLogger()
    with pytest.raises(StepFailed, match="injected"):
        export(world, Action, logger, path="new/folders")
    assert snapshot(world) == before
    assert logger.rolled_back() == ["broken", *reversed(STEPS[: STEPS.index(step) + 1])]


def multiply(home: Path, count: int) -> None:
    """Make copies of the one unit, task and assignment of a home, until there are `count` of them."""
    numbers = "with recursive n(i) as (select 2 union all select i + 1 from n where i < :count)"
    name = "cast(replace(cast(files as text), 'a.png', 'a' || i || '.png') as blob)"
    with sqlite3.connect(home / "synapse.db") as database:
        for statement in (
            f"insert into data_units (data_collection, key, files, meta) {numbers} "
            f"select data_collection, i, {name}, meta from n, data_units where id = 1",
            f"insert into tasks (project, data_unit, status, data) {numbers} "
            "select project, i, status, data from n, tasks where id = 1",
            f"insert into assignments (project, task, data_unit, status, data) {numbers} "
            "select project, i, i, status, data from n, assignments where id = 1",
        ):
            database.execute(statement, {"count": count})
    database.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory was used from /proc")
def test_an_export_of_any_size_needs_the_same_memory(tmp_path: Path):
    """In a process of its own, as memory that was once used is not given back."""
    count = 3_000
    home = tmp_path / "large"
    with_one = LocalBackend(home)
    world = seed(with_one, tmp_path / "images", ["a.png"])
    with_one.close()
    multiply(home, count)
    code = str(Path(__file__).with_name("export_memory.py"))
    done = subprocess.run(
        [sys.executable, code, str(home), str(world.project.id)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    few, all_of_them, kilobytes = map(int, done.stdout.split())
    assert (few, all_of_them) == (300, count)
    # What is remembered of an item is its name, 300 bytes or so; an item itself has 3,000.
    assert kilobytes < 3_000
