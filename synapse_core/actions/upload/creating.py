"""Data units out of drafts whose files are stored. Asking twice makes none twice: each has its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from synapse_core.actions.upload.context import UnitDraft, UploadContext
from synapse_core.actions.upload.crew import Tell
from synapse_core.actions.upload.ledger import UPLOAD_ID
from synapse_core.actions.upload.report import FailureCode
from synapse_core.actions.upload.retries import persistently
from synapse_core.backend import DataCollection, DataUnit, FileReference, NewDataUnit
from synapse_core.errors import BackendRejected

Batch = Sequence[tuple[UnitDraft, NewDataUnit]]


def create_units(
    context: UploadContext, collection: DataCollection, sent: Mapping[str, FileReference], tell: Tell
) -> set[str]:
    """Make a data unit of each draft whose files were sent, and drop the other drafts.

    sent: checksum -> where it lies. Returns the names in the storage that data units need.
    Raises BackendError where the backend does not answer; one that refuses single units loses these.
    """
    settings = context.settings
    ready: list[tuple[UnitDraft, NewDataUnit]] = []
    for draft in context.data_units:
        unit = _unit_of(draft, sent)
        if unit is None:
            message = "not all of its files could be stored"
            context.outcome.fail(draft.group.label, FailureCode.DATA_UNIT_CREATION_FAILED, message)
        else:
            ready.append((draft, unit))
    size = settings.creating_data_unit_batch_size
    batches = [ready[start : start + size] for start in range(0, len(ready), size)]
    made = context.crew.work_off(
        batches,
        lambda batch: _create(context, collection, batch),
        settings.creating_data_unit_max_workers,
        lambda begun, _: tell(begun * size, len(ready)),
    )
    needed: set[str] = set()
    for draft, unit_made in (pair for batch in made for pair in batch):
        needed.update(file.path for file in unit_made.files.values())
        if unit_made.meta.get(UPLOAD_ID) == context.upload_id:
            draft.id = unit_made.id
        else:
            context.outcome.skip(draft.group.label, f"it is data unit {unit_made.id} already")
    context.data_units = [draft for draft in context.data_units if draft.id is not None]
    return needed


def _unit_of(draft: UnitDraft, sent: Mapping[str, FileReference]) -> NewDataUnit | None:
    files = {}
    for name, file in draft.group.files.items():
        if file.checksum not in sent:
            return None
        files[name] = msgspec.structs.replace(sent[file.checksum], name=file.name)
    return NewDataUnit(key=draft.key, files=files, meta=draft.meta, groups=draft.group.groups)


def _create(
    context: UploadContext, collection: DataCollection, batch: Batch
) -> list[tuple[UnitDraft, DataUnit]]:
    """Return each draft with its unit. Refused ones are found by asking for each by itself."""
    context.crew.check()
    context.ledger.begin_units(draft.key for draft, _ in batch)
    units = [unit for _, unit in batch]
    try:
        made = persistently(
            lambda: context.client.create_data_units(collection.id, units),
            context.settings.upload_max_retries,
            context.crew.pause,
        )
    except BackendRejected as error:
        if len(batch) == 1:
            context.outcome.fail(
                batch[0][0].group.label, FailureCode.DATA_UNIT_CREATION_FAILED, error.message
            )
            return []
        return [pair for one in batch for pair in _create(context, collection, [one])]
    return [(draft, unit) for (draft, _), unit in zip(batch, made, strict=True)]
