"""Records become items, and items are converted, one by one while they are read: none is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from synapse_core.actions import item_failures
from synapse_core.actions.export.exporter import ExportHooks, Item
from synapse_core.backend import FileReference


class ExportItems:
    """The items of an export. Each pass through them reads the records anew.

    primary: names of the primary file specifications; the first file stands in where an item has none.
    """

    def __init__(self, records: Iterable[Any], count: int, primary: tuple[str, ...] = ()) -> None:
        self._records = records
        self._count = count
        self._primary = primary

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for number, record in enumerate(self._records, start=1):
            yield _item_of(record, number, self._primary)


class ConvertedItems:
    """The items after their conversion. One that failed has `error`, a text, and data None.

    told: called with the number of items that are converted.
    """

    def __init__(
        self, items: Iterable[Item], count: int, hooks: ExportHooks, told: Callable[[int], None]
    ) -> None:
        self._items = items
        self._count = count
        self._hooks = hooks
        self._told = told

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for number, item in enumerate(self._items, start=1):
            yield convert_item(self._hooks, item)
            self._told(number)


def convert_item(hooks: ExportHooks, item: Item) -> Item:
    """Return the item that the hooks make of one; `error` says why they could not."""
    kept = {"id": item["id"], "files": item["files"]}
    try:
        converted = hooks.after_convert(hooks.convert_data(hooks.before_convert(item)))
    except Exception as error:  # hooks are foreign code, and the other items go on
        if item_failures.is_fatal(error):
            raise
        return {**kept, "data": None, "error": item_failures.told(error)}
    if isinstance(converted, Mapping) and "data" in converted and "files" in converted:
        made = {**kept, **converted}
    else:
        made = {**kept, "data": converted}
    if made["data"] is None:
        made["error"] = "it has no data"
    return made


def _item_of(record: Any, number: int, primary: tuple[str, ...]) -> Item:
    """Return a record as an item; what is no record is an item's data."""
    if not hasattr(record, "get"):
        return {"id": number, "data": record, "files": {}}
    return {
        "id": record.get("id", number),
        "data": record.get("data"),
        "files": _primary_file(record.get("files") or {}, primary),
    }


def _primary_file(files: Mapping[str, Any], primary: tuple[str, ...]) -> dict[str, Any]:
    references = {name: file for name, file in files.items() if isinstance(file, FileReference)}
    if not references:
        return dict(files)
    name = next((name for name in primary if name in references), next(iter(references)))
    file = references[name]
    return {**msgspec.structs.asdict(file), "file_name_original": file.name, "specification": name}
