"""The eight steps of an upload, in their order. Each does what it needs of those that were left out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from synapse_core.actions.upload.context import UploadContext
from synapse_core.actions.upload.creating import UnitMaker
from synapse_core.actions.upload.discovery import find_all, folder_of, screen_all
from synapse_core.actions.upload.drafts import draft_units, leave_out_duplicates, take_checksums
from synapse_core.actions.upload.grouping import group_files
from synapse_core.actions.upload.ledger import Undoing
from synapse_core.actions.upload.metadata import find_metadata, read_metadata
from synapse_core.actions.upload.report import MOST_LISTED, FailureCode
from synapse_core.actions.upload.sending import Sender
from synapse_core.actions.upload.target import (
    check_assets,
    find_collection,
    find_path,
    make_collection,
    propose_specifications,
)
from synapse_core.actions.workflow import BuiltInStep
from synapse_core.backend import FileReference
from synapse_core.enums import LogLevel
from synapse_core.errors import ExecutionError, InvalidMetadata, SynapseError
from synapse_core.steps import BaseStep, StepResult

# Data units: while the files of so many are sent, those before are made.
_SENT_AT_ONCE = 1000


class _UploadStep(BuiltInStep[UploadContext]):
    """A step of an upload. Whatever ends it early, no thread of it goes on."""

    def rollback(self, context: UploadContext, result: StepResult) -> None:
        context.crew.settle()


class InitializeStep(_UploadStep):
    """Finds the storage, the project and the data collection, and the paths."""

    step_name = "initialize"
    weight = 0.05

    def execute(self, context: UploadContext) -> StepResult:
        settings, client = context.settings, context.client
        context.set_progress(0, 3)
        today = datetime.now(UTC).strftime("%Y%m%d")
        context.import_log_id = f"IMP-{today}-{context.runtime_ctx.job_id or 'LOCAL'}"
        # Unlike the import log id this one is never given twice: it tells whose a data unit is.
        context.upload_id = secrets.token_hex(16)
        context.pathlib_cwd = find_path(context)
        context.set_progress(1, 3)
        if settings.project is not None:
            context.project = client.get_project(settings.project)
        context.data_collection = find_collection(context)
        context.set_progress(2, 3)
        collection = context.data_collection
        context.storage = client.open_storage(settings.storage if collection is None else collection.storage)
        if not context.storage.capabilities.deletes:
            context.log_message(
                "The storage cannot delete files: what was uploaded stays if this upload fails.",
                LogLevel.WARNING,
            )
        context.set_progress(3, 3)
        return StepResult(data={"import_log_id": context.import_log_id, "upload_id": context.upload_id})


class ValidateFilesStep(_UploadStep):
    """Finds the files and looks into each: whether it can be read, its size, its content."""

    step_name = "validate_files"
    weight = 0.10

    def execute(self, context: UploadContext) -> StepResult:
        _need(context, InitializeStep)
        find_all(context)
        screen_all(context, context.set_progress)
        fit = sum(map(len, context.found_files.values()))
        context.log("files_validated", {"fit": fit, "refused": dict(context.outcome.counts)})
        if fit == 0:
            return _nothing_left(context, "There are no files to upload")
        return StepResult(data={"files": fit})


class AnalyzeCollectionStep(_UploadStep):
    """Learns which file specifications the data collection has, or is to have."""

    step_name = "analyze_collection"
    weight = 0.05

    def execute(self, context: UploadContext) -> StepResult:
        _need(context, ValidateFilesStep)
        context.set_progress(0, 2)
        if context.data_collection is not None:
            context.specifications = context.data_collection.file_specifications
        else:
            context.specifications = propose_specifications(context.found_files)
        context.set_progress(1, 2)
        check_assets(context)
        context.set_progress(2, 2)
        return StepResult(data={"specifications": [one.name for one in context.specifications]})


class OrganizeFilesStep(_UploadStep):
    """Puts together the files that become one data unit. None is moved or copied."""

    step_name = "organize_files"
    weight = 0.15

    def execute(self, context: UploadContext) -> StepResult:
        _need(context, AnalyzeCollectionStep)
        context.set_progress(0, 2)
        context.organized_files = group_files(
            context.found_files, context.specifications, context.allowed_extensions, context.outcome
        )
        context.set_progress(1, 2)
        if not context.organized_files:
            return _nothing_left(context, "No file fits the data collection")
        context.set_progress(2, 2)
        return StepResult(data={"groups": len(context.organized_files)})


class GenerateDataUnitsStep(_UploadStep):
    """Drafts the data units: checksums, duplicates, metadata. They are made once their files are stored."""

    step_name = "generate_data_units"
    weight = 0.10

    def execute(self, context: UploadContext) -> StepResult:
        _need(context, OrganizeFilesStep)
        context.set_progress(0, 4)
        # Before any file is read as a whole: a table that must not be read ends the upload.
        self._read_metadata(context)
        context.set_progress(1, 4)
        take_checksums(context, lambda begun, total: context.set_progress(1 + begun / total, 4))
        leave_out_duplicates(context)
        context.set_progress(3, 4)
        if not context.organized_files and not context.outcome.skipped:
            return _nothing_left(context, "No data unit can be made")
        context.data_units = draft_units(context)
        context.is_drafted = True
        context.set_progress(4, 4)
        return StepResult(data={"drafts": len(context.data_units)})

    def _read_metadata(self, context: UploadContext) -> None:
        """Read the table where there is one. One that is none is told and left; one that is unsafe raises."""
        path = find_metadata(context.settings.excel_metadata_path, folder_of(context))
        if path is None:
            return
        try:
            context.excel_metadata = read_metadata(path)
        except InvalidMetadata as error:
            context.outcome.fail(path.name, FailureCode.INVALID_METADATA, error.message)
            context.log_message(f"The upload goes on without metadata. {error.message}", LogLevel.WARNING)


class UploadFilesStep(_UploadStep):
    """Stores the files, in parallel, and then makes the data units of them."""

    step_name = "upload_files"
    weight = 0.50

    def execute(self, context: UploadContext) -> StepResult:
        _need(context, GenerateDataUnitsStep)
        if not context.data_units:
            context.set_progress(1, 1)
            return StepResult(data={"uploaded_files": 0, "data_units": 0})
        collection = make_collection(context)
        context.storage = context.client.open_storage(collection.storage)
        files = [file for draft in context.data_units for file in draft.group.files.values()]
        drafts = context.data_units
        everything = len(files) + len(drafts)
        sender = Sender(context, context.storage, collection)
        maker = UnitMaker(context, collection)
        sent: dict[str, FileReference] = {}
        done = 0
        for start in range(0, len(drafts), _SENT_AT_ONCE):
            some = drafts[start : start + _SENT_AT_ONCE]
            wanted = [file for draft in some for file in draft.group.files.values()]
            new = [file for file in wanted if file.checksum not in sent]

            def tell(begun: int, _total: int, before: int = done) -> None:
                context.set_progress(min(before + begun + maker.made, everything), everything)

            sent |= sender.send_all(new, tell)
            maker.begin(some, sent)
            done += len(wanted)
        needed = maker.finish(lambda made, _: context.set_progress(len(files) + made, everything))
        # What was there before may have been taken away by another upload's rollback in the meantime.
        others = needed - context.ledger.files.keys()
        reused = [file for file in files if sender.path_of(file.checksum) in others]
        sender.send_all(reused, lambda _begun, _total: None)
        context.crew.settle()
        self._take_back(context, [name for name in list(context.ledger.files) if name not in needed])
        context.uploaded_files = [
            sent[file.checksum] for draft in context.data_units for file in draft.group.files.values()
        ]
        lost = context.outcome.lost_count
        context.set_metrics({"stand_by": 0, "success": len(files) - lost, "failed": lost}, "data_files")
        made = len(context.data_units)
        failed = context.outcome.counts[FailureCode.DATA_UNIT_CREATION_FAILED]
        context.set_metrics({"stand_by": 0, "success": made, "failed": failed}, "data_units")
        if not made and failed:
            return _nothing_left(context, "No data unit could be made")
        context.set_progress(everything, everything)
        return StepResult(data={"uploaded_files": len(context.uploaded_files), "data_units": made})

    def rollback(self, context: UploadContext, result: StepResult) -> None:
        """Delete the data units of this upload and the files that it stored; tell what could not be."""
        super().rollback(context, result)
        collection, storage = context.data_collection, context.storage
        left: list[str] = []
        if collection is not None and storage is not None and (context.ledger.files or context.ledger.keys):
            undoing = Undoing(context.client, storage, collection.id, context.upload_id)
            undoing.undo(context.ledger)
            left = undoing.left
        context.uploaded_files.clear()
        for draft in context.data_units:
            draft.id = None
        if context.has_made_collection:
            left += _delete_collection(context)
        _tell_left(context, left)

    def _take_back(self, context: UploadContext, names: list[str]) -> None:
        """Delete files whose data unit did not come to be."""
        if names and context.data_collection is not None and context.storage is not None:
            undoing = Undoing(context.client, context.storage, context.data_collection.id, context.upload_id)
            undoing.delete_files(context.ledger, names)
            _tell_left(context, undoing.left)


class ProcessMetadataStep(_UploadStep):
    """Tells what became of the metadata; its values went into the data units when these were made."""

    step_name = "process_metadata"
    weight = 0.05

    def can_skip(self, context: UploadContext) -> bool:
        return context.excel_metadata is None

    def execute(self, context: UploadContext) -> StepResult:
        metadata = context.excel_metadata
        if metadata is None:
            return StepResult(skipped=True)
        context.set_progress(0, 2)
        unmatched = context.unmatched_metadata
        data = {"rows": len(metadata.rows), "repeated": metadata.repeated, "unmatched": len(unmatched)}
        context.log("metadata", {**data, "without_file": unmatched[:MOST_LISTED], "table": metadata.path})
        context.set_progress(1, 2)
        if unmatched:
            context.log_message(
                f"{len(unmatched)} of {len(metadata.rows)} rows of {Path(metadata.path).name} have no file.",
                LogLevel.WARNING,
            )
        context.set_progress(2, 2)
        return StepResult(data=data)


class CleanupStep(_UploadStep):
    """Writes down what came of the upload. There are no temporary files to remove."""

    step_name = "cleanup"
    weight = 0.05

    def execute(self, context: UploadContext) -> StepResult:
        context.set_progress(0, 2)
        outcome = context.outcome
        result = {
            "import_log_id": context.import_log_id,
            "uploaded_files": len(context.uploaded_files),
            "data_units": len(context.data_units),
            "failures": dict(outcome.counts),
            "skipped_duplicates": outcome.skipped,
        }
        context.log("import_result", result)
        context.set_progress(1, 2)
        context.log(
            "import_result_admin",
            {**result, "upload_id": context.upload_id, "failed": [asdict(one) for one in outcome.failures]},
        )
        if outcome.counts:
            context.log_message(f"Not everything was uploaded: {outcome.first_reason()}.", LogLevel.WARNING)
        context.set_progress(2, 2)
        return StepResult(data=result)


STEPS: tuple[Callable[[], BaseStep[UploadContext]], ...] = (
    InitializeStep,
    ValidateFilesStep,
    AnalyzeCollectionStep,
    OrganizeFilesStep,
    GenerateDataUnitsStep,
    UploadFilesStep,
    ProcessMetadataStep,
    CleanupStep,
)


def _need(context: UploadContext, step: type[_UploadStep]) -> None:
    """Do an earlier step that a workflow has left out."""
    done = {
        InitializeStep: bool(context.upload_id),
        ValidateFilesStep: bool(context.found_files),
        AnalyzeCollectionStep: bool(context.specifications),
        OrganizeFilesStep: bool(context.organized_files),
        # Where everything was there before, there are none, and looking again would count it twice.
        GenerateDataUnitsStep: context.is_drafted or bool(context.data_units),
    }
    if not done[step]:
        result = step().execute(context)
        if not result.success:
            raise ExecutionError(result.error or f"{step.step_name} failed")


def _nothing_left(context: UploadContext, what: str) -> StepResult:
    reason = context.outcome.first_reason()
    return StepResult(success=False, error=f"{what}{f': {reason}' if reason else ''}.")


def _delete_collection(context: UploadContext) -> list[str]:
    """Delete the collection that this upload made. Returns what is left of it, in words."""
    name = context.settings.name
    if context.data_collection is None:
        return [f"the data collection {name!r}, if it came to be before the upload ended"]
    try:
        context.client.delete_data_collection(context.data_collection.id)
    except SynapseError as error:
        return [f"the data collection {name!r}: {error.message}"]
    context.data_collection = None
    return []


def _tell_left(context: UploadContext, left: list[str]) -> None:
    """Write down what could not be undone, in the context and in the log."""
    if not left:
        return
    listed = [f"Not undone: {one}" for one in left[:MOST_LISTED]]
    if len(left) > MOST_LISTED:
        listed.append(f"Not undone: {len(left) - MOST_LISTED} more")
    context.errors += listed
    logger = context.runtime_ctx.logger
    logger.log(LogLevel.ERROR, "rollback_incomplete", {"count": len(left), "left": left[:MOST_LISTED]})
    logger.message("\n".join(listed[:10]), LogLevel.ERROR)
