"""The six steps of an export, before and after its work: where to, what, with what, and the reports.

The work itself, converting and writing, is one stream: `convert_data` only lays it out, with every hook, and
`save_files` draws each item through the conversion when it writes it. So an export of any size holds one page
of records and one item; each step reports progress of its own all the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from synapse_core.actions.export.context import ExportContext
from synapse_core.actions.export.items import ConvertedItems, ExportItems
from synapse_core.actions.export.output import Folder, make_unique_folder, remove_folder
from synapse_core.actions.export.params import ExportParams
from synapse_core.actions.export.saving import Saving
from synapse_core.actions.export.targets import get_target_handler
from synapse_core.actions.pace import Pace
from synapse_core.actions.workflow import BuiltInStep
from synapse_core.errors import ExecutionError, RecordNotFound
from synapse_core.steps import StepResult
from synapse_core.storage import Storage, get_storage
from synapse_core.storage.names import check_folder

if TYPE_CHECKING:
    from synapse_core.backend import Backend

ERRORS, COLLISIONS = "error_file_list.json", "filename_collisions.json"


def _asked(context: ExportContext, name: str) -> Any:
    """Return a parameter; the usual value where the action's own model does not have it."""
    return getattr(context.params, name, ExportParams.model_fields[name].default)


class InitializeStep(BuiltInStep[ExportContext]):
    """Opens the storage and makes the export's folder in it. Rollback removes that folder whole."""

    step_name = "initialize"
    weight = 0.05

    def execute(self, context: ExportContext) -> StepResult:
        storage = _open_storage(context.action.client, _asked(context, "storage"), context)
        root = check_folder(_asked(context, "path"))
        name = _asked(context, "name")
        context.storage, context.path_root = storage, root
        with context.runtime_ctx.stop.uninterrupted:
            # A folder that was made and not noted would stay behind.
            folder = context.folder = make_unique_folder(storage, root, name)
        context.unique_export_path = folder.name
        hooks = context.action.hooks_class()
        context.label_output_dirname = hooks.label_output_dirname
        data_folder = folder / hooks.label_output_dirname if hooks.label_output_dirname else folder.name
        context.output_paths = {"json": _made(storage, data_folder)}
        if _asked(context, "save_original_file"):
            context.output_paths["origin_files"] = _made(storage, folder / hooks.original_output_dirname)
        context.output_path = storage.get_url(folder.name)
        context.log_message(f"Exporting to {context.output_path}.")
        return StepResult(data={"output_path": context.output_path})

    def rollback(self, context: ExportContext, result: StepResult) -> None:
        if context.storage is not None and context.folder is not None:
            remove_folder(context.storage, context.folder)
        context.folder = context.storage = context.unique_export_path = context.output_path = None
        context.output_paths = {}


class FetchResultsStep(BuiltInStep[ExportContext]):
    """Asks for the records and how many they are; they are read later, page by page."""

    step_name = "fetch_results"
    weight = 0.10

    def execute(self, context: ExportContext) -> StepResult:
        if hasattr(context.params, "target"):
            context.handler = get_target_handler(context.params.target)
        context.fetch_filters = dict(getattr(context.params, "filter", {}))
        context.results, context.total_count = context.action.get_filtered_results(context.fetch_filters)
        if context.total_count:
            context.set_progress(0, context.total_count, context.action.progress.FETCH)
        context.log_message(f"{context.total_count:,} records are to be exported.")
        return StepResult(data={"total_count": context.total_count})

    def rollback(self, context: ExportContext, result: StepResult) -> None:
        context.results, context.total_count, context.handler = (), 0, None


class PrepareExportStep(BuiltInStep[ExportContext]):
    """Makes the parameters of the exporter, with the project's configuration, and items of the records."""

    step_name = "prepare_export"
    weight = 0.10

    def can_skip(self, context: ExportContext) -> bool:
        return context.total_count == 0

    def execute(self, context: ExportContext) -> StepResult:
        client: Backend = context.action.client
        handler = context.handler
        if handler is not None and (filters := handler.filters_of(context.fetch_filters)):
            context.project_id = handler.project(client, filters)
        primary: tuple[str, ...] = ()
        if context.project_id is not None:
            project = client.get_project(context.project_id)
            context.configuration = project.configuration
            collection = client.get_data_collection(project.data_collection)
            primary = tuple(kind.name for kind in collection.file_specifications if kind.is_primary)
        context.export_params = {
            "name": _asked(context, "name"),
            "count": context.total_count,
            "save_original_file": _asked(context, "save_original_file"),
            "configuration": context.configuration,
            **(_asked(context, "extra_params") or {}),
        }
        context.export_items = ExportItems(_Fetched(context), context.total_count, primary)
        context.exporter = context.action.create_exporter(context)
        return StepResult(data={"project": context.project_id})

    def rollback(self, context: ExportContext, result: StepResult) -> None:
        context.export_params, context.configuration, context.export_items = {}, {}, ()


class ConvertDataStep(BuiltInStep[ExportContext]):
    """Lays the conversion out: before_convert, convert_data, after_convert of each item when it is read.

    Nothing is converted yet. `converted_items` can be gone through any number of times; `save_files` does so
    once, and each item is converted then.
    """

    step_name = "convert_data"
    weight = 0.30

    def can_skip(self, context: ExportContext) -> bool:
        return context.total_count == 0

    def execute(self, context: ExportContext) -> StepResult:
        if context.exporter is None:
            context.exporter = context.action.create_exporter(context)
        pace, total = Pace(), context.total_count
        if not context.export_items:
            # Without `prepare_export`, records become items all the same.
            context.export_items = ExportItems(_Fetched(context), total)

        def told(done: int) -> None:
            if pace.is_due(done, total):
                category = context.action.progress.DATASET_CONVERSION
                context.set_progress(done, max(done, total), category)

        context.converted_items = ConvertedItems(context.export_items, total, context.exporter, told)
        return StepResult(data={"items": total})

    def rollback(self, context: ExportContext, result: StepResult) -> None:
        context.converted_items = ()


class SaveFilesStep(BuiltInStep[ExportContext]):
    """Converts and writes each item: its original file and its data. One that fails does not stop the others.

    Fails where nothing was exported and something failed, and where what every item needs is not there: the
    backend after several tries, the storage, room on the disk.
    """

    step_name = "save_files"
    weight = 0.35

    def can_skip(self, context: ExportContext) -> bool:
        return context.total_count == 0

    def execute(self, context: ExportContext) -> StepResult:
        saving = Saving(context, with_originals="origin_files" in context.output_paths)
        saving.tell()
        for item in context.converted_items:
            saving.save(item)
        saving.tell()
        counts = {"exported_count": context.exported_count, "failed_count": context.failed_count}
        if not context.exported_count and context.failed_count:
            raise ExecutionError(
                f"None of the {context.failed_count:,} items could be exported. The first: {_first(context)}",
                {**counts, "errors": [*context.errors_json, *context.errors_original][:20]},
                hint="Look at the reasons in the details; the folder of the export was removed again.",
            )
        return StepResult(data=counts)

    def rollback(self, context: ExportContext, result: StepResult) -> None:
        context.errors_json, context.errors_original, context.name_changes = [], [], []
        context.exported_count = context.failed_count = context.filename_collision_count = 0


class FinalizeStep(BuiltInStep[ExportContext]):
    """Has the exporter write further files, writes the reports, and counts what there is. Always runs."""

    step_name = "finalize"
    weight = 0.10

    def execute(self, context: ExportContext) -> StepResult:
        storage, folder = context.storage, context.folder
        if storage is None or folder is None:
            raise ExecutionError(
                "There is no folder to finish: the step 'initialize' is missing.",
                hint="Keep it, or register a step of your own in place of 'finalize'.",
            )
        if context.exporter is not None:
            context.exporter.additional_file_saving(storage.get_pathlib(folder.name))
        if context.errors_json or context.errors_original:
            report = {"json_file_name": context.errors_json, "origin_file_name": context.errors_original}
            storage.write_bytes(folder / ERRORS, _as_json(report))
        if context.name_changes:
            storage.write_bytes(folder / COLLISIONS, _as_json(context.name_changes))
        _count(context, storage, folder)
        _tell(context)
        return StepResult(data={"output_path": context.output_path})


class _Fetched:
    """The records, with the number of those that were read told as progress."""

    def __init__(self, context: ExportContext) -> None:
        self._context = context

    def __iter__(self) -> Any:
        context, pace = self._context, Pace()
        for number, record in enumerate(context.results, start=1):
            total = max(number, context.total_count)
            if pace.is_due(number, total):
                context.set_progress(number, total, context.action.progress.FETCH)
            yield record


def _open_storage(client: Backend, storage_id: int | None, context: ExportContext) -> Storage:
    """Return the storage of this id, else the backend's default one, else the run's artifacts."""
    try:
        return client.open_storage(storage_id)
    except RecordNotFound:
        if storage_id is not None:
            raise
    location = str(context.runtime_ctx.artifacts_dir)
    return get_storage({"provider": "local", "configuration": {"location": location}})


def _made(storage: Storage, folder: str) -> Any:
    storage.make_dirs(folder)
    return storage.get_pathlib(folder)


def _count(context: ExportContext, storage: Storage, folder: Folder) -> None:
    """Count the data files that lie there, and all bytes; warn where they are fewer than were exported."""
    labels = context.label_output_dirname
    data_folder = f"{folder / labels}/" if labels else f"{folder.name}/"
    files = 0
    for name, size_bytes in storage.list(folder.name):
        context.written_bytes += size_bytes
        files += name.startswith(data_folder) and name.endswith(".json")
    context.written_file_count = files
    if files < context.exported_count - context.tally.written_later:
        context.log_message(
            f"{context.exported_count:,} items were exported, and {files:,} data files are there.", "warning"
        )


def _tell(context: ExportContext) -> None:
    """Say in words what came of the export."""
    seen = context.exported_count + context.failed_count
    if context.failed_count:
        context.log_message(
            f"{context.failed_count:,} items failed; {ERRORS} names each. The first: {_first(context)}",
            "warning",
        )
    if context.tally.without_original:
        context.log_message(f"{context.tally.without_original:,} items have no original file.", "warning")
    if context.name_changes:
        context.log_message(
            f"{len(context.name_changes):,} files have another name than before; {COLLISIONS} names each.",
            "warning",
        )
    if seen != context.total_count:
        context.log_message(
            f"{context.total_count:,} records were there at the beginning, {seen:,} when they were read.",
            "warning",
        )
    context.log_message(f"{context.exported_count:,} items exported to {context.output_path}.", "success")


def _first(context: ExportContext) -> str:
    return ": ".join(next(iter([*context.errors_json, *context.errors_original]), ["no reason was given"]))


def _as_json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()
