"""Data units out of drafts whose files are stored. Asking twice makes none twice: each has its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial

import msgspec

from synapse_core.actions.upload.context import UnitDraft, UploadContext
from synapse_core.actions.upload.crew import Tell
from synapse_core.actions.upload.ledger import UPLOAD_ID
from synapse_core.actions.upload.report import FailureCode
from synapse_core.actions.upload.retries import persistently
from synapse_core.backend import DataCollection, DataUnit, FileReference, NewDataUnit
from synapse_core.errors import BackendRejected

Batch = Sequence[tuple[UnitDraft, NewDataUnit]]


class UnitMaker:
    """Makes the data units of drafts whose files were sent, beside the sending of others.

    Its methods are called by one thread.
    """

    def __init__(self, context: UploadContext, collection: DataCollection) -> None:
        self._context = context
        self._collection = collection
        self._ready: list[tuple[UnitDraft, NewDataUnit]] = []
        self._batches: list[Future[list[tuple[UnitDraft, DataUnit]]]] = []

    @property
    def made(self) -> int:
        """About how many there are by now."""
        done = sum(batch.done() for batch in self._batches)
        return done * self._context.settings.creating_data_unit_batch_size

    def begin(self, drafts: Sequence[UnitDraft], sent: Mapping[str, FileReference]) -> None:
        """Begin to make units. sent: checksum -> where it lies; a draft that misses a file is left out.

        Raises what a former batch has raised.
        """
        for draft in drafts:
            unit = _unit_of(draft, sent)
            if unit is None:
                message = "not all of its files could be stored"
                self._context.outcome.fail(draft.group.label, FailureCode.DATA_UNIT_CREATION_FAILED, message)
            else:
                self._ready.append((draft, unit))
        size = self._context.settings.creating_data_unit_batch_size
        while len(self._ready) >= size:
            self._submit(self._ready[:size])
            del self._ready[:size]
        self._context.crew.gather([batch for batch in self._batches if batch.done()])

    def finish(self, tell: Tell) -> set[str]:
        """Wait for all of them, and drop the drafts that none was made of.

        Returns the names in the storage that data units need. Raises BackendError where the backend does not
        answer; one that refuses single units loses these.
        """
        context = self._context
        if self._ready:
            self._submit(self._ready)
        total = len(context.data_units)
        context.crew.gather(self._batches, lambda: min(self.made, total), total, tell)
        needed: set[str] = set()
        for draft, made in (pair for batch in self._batches for pair in batch.result()):
            needed.update(file.path for file in made.files.values())
            if made.meta.get(UPLOAD_ID) == context.upload_id:
                draft.id = made.id
            else:
                context.outcome.skip(draft.group.label, f"it is data unit {made.id} already")
        context.data_units = [draft for draft in context.data_units if draft.id is not None]
        return needed

    def _submit(self, batch: Batch) -> None:
        work = partial(_create, self._context, self._collection, batch)
        workers = self._context.settings.creating_data_unit_max_workers
        self._batches.append(self._context.crew.beside(work, workers))


def _unit_of(draft: UnitDraft, sent: Mapping[str, FileReference]) -> NewDataUnit | None:
    files = {}
    for name, file in draft.group.files.items():
        reference = sent.get(file.checksum)
        if reference is None:
            return None
        # Another file of the same content was sent where the names differ.
        if reference.name != file.name:
            reference = msgspec.structs.replace(reference, name=file.name)
        files[name] = reference
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
