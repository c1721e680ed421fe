"""Drafts of data units: checksums, duplicates left out, metadata added. Nothing outside changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from synapse_core.actions.upload.context import FileGroup, UnitDraft, UploadContext
from synapse_core.actions.upload.crew import Tell
from synapse_core.actions.upload.ledger import UPLOAD_ID
from synapse_core.actions.upload.metadata_match import MetadataMatch
from synapse_core.actions.upload.report import FailureCode, FileRefused
from synapse_core.actions.upload.screening import take_checksum
from synapse_core.actions.upload.sources import SourceFile


def take_checksums(context: UploadContext, tell: Tell) -> None:
    """Give each file its checksum. One that cannot be read, or holds a secret, leaves its group.

    A group that then lacks a required file is left out.
    """
    files = [file for group in context.organized_files.values() for file in group.files.values()]
    missing = [file for file in files if not file.checksum]
    crew = context.crew

    def work(file: SourceFile) -> None:
        try:
            take_checksum(file, crew.check)
        except FileRefused as refused:
            context.outcome.fail(file.relative, refused.code, refused.message)

    crew.work_off(missing, work, context.settings.upload_max_workers, tell)
    crew.settle()
    if any(not file.checksum for file in missing):
        _leave_out_unread(context)


def leave_out_duplicates(context: UploadContext) -> None:
    """Leave out groups whose files are there twice, here or in the collection, where that is asked for."""
    settings, outcome = context.settings, context.outcome
    if settings.skip_local_duplicates:
        first: dict[tuple[tuple[str, str], ...], str] = {}
        for label, group in list(context.organized_files.items()):
            content = tuple(sorted((name, file.checksum) for name, file in group.files.items()))
            if content in first:
                outcome.skip(label, f"it has the same content as {first[content]}")
                context.duplicates.append(context.organized_files.pop(label))
            else:
                first[content] = label
    if settings.skip_existing_checksums and context.data_collection is not None:
        known = _known(context, context.data_collection.id)
        for label, group in list(context.organized_files.items()):
            if all(file.checksum in known for file in group.files.values()):
                outcome.skip(label, "the data collection has its content already")
                context.duplicates.append(context.organized_files.pop(label))


def draft_units(context: UploadContext) -> list[UnitDraft]:
    """Return a draft for each group, with the metadata that is said of it.

    The same content under the same label gets the same key, in whichever run.
    """
    rows = context.excel_metadata.rows if context.excel_metadata is not None else {}
    match = MetadataMatch(rows) if rows else None
    created = datetime.now(UTC).isoformat(timespec="seconds")
    drafts = []
    for group in context.organized_files.values():
        primary = context.primary_of(group)
        if not group.groups and context.settings.group_name:
            group.groups = (context.settings.group_name,)
        key = _key_of(group)
        own = {
            "origin_file_stem": primary.stem,
            "origin_file_extension": primary.extension,
            "created_at": created,
            "data_unit_key": key,
            "import_log_id": context.import_log_id,
            UPLOAD_ID: context.upload_id,
        }
        # What the upload itself says goes before what a table calls the same.
        said = match.find(primary.relative) if match is not None else {}
        drafts.append(UnitDraft(key, group, {**said, **group.meta, **own}))
    if match is not None:
        for group in context.duplicates:
            match.find(context.primary_of(group).relative)  # its row has a file, although none is made of it
        context.unmatched_metadata = [name for name in rows if name not in match.used]
    return drafts


def _known(context: UploadContext, collection: int) -> set[str]:
    files = (file for group in context.organized_files.values() for file in group.files.values())
    checksums = list(dict.fromkeys(file.checksum for file in files))
    known: set[str] = set()
    for some in _batches(checksums, context.settings.checksum_batch_size):
        known |= context.client.verify_checksums(some, data_collection=collection)
    return known


def _leave_out_unread(context: UploadContext) -> None:
    required = [one.name for one in context.specifications if one.is_required]
    for label, group in list(context.organized_files.items()):
        group.files = {name: file for name, file in group.files.items() if file.checksum}
        missing = [name for name in required if name not in group.files]
        if missing or not group.files:
            del context.organized_files[label]
            # A group of one file has failed with it already.
            if group.files:
                message = f"the file for {', '.join(missing)} was refused"
                context.outcome.fail(label, FailureCode.MISSING_REQUIRED_DATA, message)


def _key_of(group: FileGroup) -> str:
    content = [group.label, sorted((name, file.checksum) for name, file in group.files.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _batches(values: Sequence[str], size: int) -> list[Sequence[str]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
