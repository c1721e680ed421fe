"""Writing the items of an export: names, files, counts, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from synapse_core.actions.export.context import ExportContext
from synapse_core.actions.export.exporter import ExportHooks, ExportStatus, Item
from synapse_core.actions.export.file_names import FileNames, safe_file_name
from synapse_core.actions.export.tally import FileCount
from synapse_core.actions.item_failures import is_fatal, told
from synapse_core.actions.pace import Pace
from synapse_core.actions.results import Patience
from synapse_core.errors import ExecutionError

Errors = list[list[str]]


class Saving:
    """Writes one item after the other, and keeps the context's counts."""

    def __init__(self, context: ExportContext, *, with_originals: bool) -> None:
        if context.exporter is None:
            raise ExecutionError(
                "There is no exporter: the step 'prepare_export' or 'convert_data' is missing."
            )
        self._context = context
        self._hooks: ExportHooks = context.exporter
        self._with_originals = with_originals
        self._names = FileNames()
        self._patience: Patience = context.action.create_patience(context)
        self._pace = Pace()
        self._done = 0
        self._told = -1

    def save(self, item: Item) -> None:
        """Write an item's original file and its data. Raises only what every other item would fail of too."""
        context = self._context
        context.runtime_ctx.raise_if_stopped()
        named = self._named(item)
        is_well = self._save_original(named) if self._with_originals else True
        is_well = self._save_data(named) and is_well
        if is_well:
            context.exported_count += 1
        else:
            context.failed_count += 1
        context.last_completed_item = item["id"]
        self._done += 1
        if self._pace.is_due(self._done, context.total_count):
            self.tell()

    def tell(self) -> None:
        """Report the counts, and how far the files are, where that is new."""
        if self._done == self._told:
            return
        self._told = self._done
        context, progress = self._context, self._context.action.progress
        total = max(context.total_count, self._done)
        kinds = [(progress.DATA_FILE, context.tally.data_file)]
        if self._with_originals:
            kinds.insert(0, (progress.ORIGINAL_FILE, context.tally.original_file))
        for category, count in kinds:
            context.set_metrics(count.as_metrics(total), category)
            if total:
                context.set_progress(self._done, total, category)

    def _named(self, item: Item) -> Item:
        """Return an item whose file has a name of its own that every file system takes."""
        context, item_id, files = self._context, item["id"], dict(item.get("files") or {})
        fallback = f"item_{item_id}"
        try:
            asked = str(self._hooks.get_original_file_name(files)) or fallback
        except Exception as error:  # noqa: BLE001  # a hook is foreign code, and the item can have another name
            asked = fallback
            context.log_message(f"Item {item_id} is called {fallback}: {told(error)}", "warning")
        safe = safe_file_name(asked, fallback)
        taken = self._names.take(safe, item_id)
        if taken != asked and files:
            is_collision = taken != safe
            context.filename_collision_count += is_collision
            reason = "another item has this name" if is_collision else "not every file system takes it"
            context.name_changes.append(
                {"id": item_id, "file_name": asked[:1000], "exported_as": taken, "reason": reason}
            )
        return {**item, "files": {**files, "file_name_original": taken}}

    def _save_original(self, item: Item) -> bool:
        tally = self._context.tally
        if "storage" not in item["files"] and "url" not in item["files"]:
            tally.without_original += 1
            return True
        errors = self._context.errors_original
        return self._save(self._hooks.save_original_file, item, "origin_files", errors, tally.original_file)

    def _save_data(self, item: Item) -> bool:
        context = self._context
        if reason := item.get("error"):
            context.errors_json.append([item["files"]["file_name_original"], reason])
            context.tally.data_file.failed += 1
            return False
        return self._save(
            self._hooks.save_as_json, item, "json", context.errors_json, context.tally.data_file
        )

    def _save(
        self, hook: Callable[..., Any], item: Item, place: str, errors: Errors, count: FileCount
    ) -> bool:
        """Have a hook write one file. Returns whether it is written; why not stands in `errors` then."""
        name, folder, before = (
            item["files"]["file_name_original"],
            self._context.output_paths[place],
            len(errors),
        )
        try:
            status = self._patience.call(lambda: hook(item, folder, errors))
        except Exception as error:  # a hook is foreign code, and the other items go on
            if is_fatal(error):
                raise
            errors.append([name, told(error)])
            status = ExportStatus.FAILED
        is_well: bool = status != ExportStatus.FAILED
        if is_well:
            count.success += 1
            if place == "json" and status == ExportStatus.STAND_BY:
                self._context.tally.written_later += 1
        else:
            count.failed += 1
            if len(errors) == before:
                errors.append([name, "the exporter says that it failed"])
        return is_well
