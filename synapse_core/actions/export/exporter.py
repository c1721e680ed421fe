"""What of an export a plugin can change: how an item is converted, named and written.

The methods can be overridden on the action itself, or on an Exporter that is its `entrypoint`.
"""

from __future__ import annotations

import json
import posixpath
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from synapse_core.backend import FileReference
from synapse_core.errors import NoBackend

if TYPE_CHECKING:
    from synapse_core.backend import Backend

Item = dict[str, Any]


class ExportStatus(StrEnum):
    """What became of one file of an item. STAND_BY: it was taken, and is written in the end."""

    SUCCESS = "success"
    FAILED = "failed"
    STAND_BY = "stand_by"


class ExportHooks:
    """The hooks of an export. An item is

    `{id, data, files}`: the record's id; its annotations, a DM document until they are converted, None where
    there are none; its primary file, {} where it has none: `file_name_original`, `url`, `specification`, and
    the fields of FileReference.

    label_output_dirname: the folder of the data files; None puts them into the export's own folder.
    original_output_dirname: the folder of the original files.
    """

    label_output_dirname: ClassVar[str | None] = "labels"
    original_output_dirname: ClassVar[str] = "origin_files"

    def before_convert(self, data: Any) -> Any:
        """Take an item and return it, prepared for the conversion."""
        return data

    def convert_data(self, data: Any) -> Any:
        """Take an item and return it with its data converted, or return the converted data alone.

        Data that is None fails the item, as an exception does; the others go on.
        """
        return data

    def after_convert(self, data: Any) -> Any:
        """Take what the conversion gave, and return what is to be written."""
        return data

    def get_original_file_name(self, files: Mapping[str, Any]) -> str:
        """Return what an item's files are to be called. It is made safe and unique before it is used."""
        return str(files.get("file_name_original") or "")

    def save_original_file(self, result: Item, base_path: Any, error_file_list: list[list[str]]) -> Any:
        """Write the original file of an item. base_path: the folder for it, used as a pathlib.Path is.

        Returns an ExportStatus. What is wrong goes to the list as [file name, reason], or is raised.
        """
        name = self.get_original_file_name(result["files"])
        if isinstance(base_path, Path):
            self.fetch_original_file(result, base_path / name)
            return ExportStatus.SUCCESS
        with tempfile.TemporaryDirectory(prefix="synapse-export-") as folder:
            fetched = self.fetch_original_file(result, Path(folder) / "original")
            with fetched.open("rb") as source, (base_path / name).open("wb") as target:
                shutil.copyfileobj(source, target)
        return ExportStatus.SUCCESS

    def save_as_json(self, result: Item, base_path: Any, error_file_list: list[list[str]]) -> Any:
        """Write the data of an item, as `save_original_file` writes its file.

        ExportStatus.STAND_BY says that `additional_file_saving` writes them, into one file for all items.
        """
        stem = posixpath.splitext(self.get_original_file_name(result["files"]))[0]
        text = json.dumps(result["data"], ensure_ascii=False, allow_nan=False)
        with (base_path / f"{stem}.json").open("wb") as target:
            target.write(text.encode())
        return ExportStatus.SUCCESS

    def additional_file_saving(self, unique_export_path: Any) -> None:
        """Write further files, when all items are written. unique_export_path: the export's folder."""
        return

    def fetch_original_file(self, result: Item, target: Path) -> Path:
        """Write the bytes of an item's original file to a local path, which is returned."""
        known = {name: result["files"][name] for name in FileReference.__struct_fields__}
        return self._backend().download_file(FileReference(**known), target)

    def _backend(self) -> Backend:
        raise NoBackend(type(self).__name__)


class Exporter(ExportHooks):
    """The hooks of an export in a class of their own, named by the action's `entrypoint`.

    run: the RuntimeContext. export_items: the items, read page by page; path_root: where in the storage
    exports are made; params: name, count, save_original_file, and the parameters' extra_params.
    """

    def __init__(self, run: Any, export_items: Iterable[Item], path_root: Any, **params: Any) -> None:
        self.run = run
        self.export_items = export_items
        self.path_root = path_root
        self.params = params

    def _backend(self) -> Backend:
        if self.run.client is None:
            raise NoBackend(type(self).__name__)
        client: Backend = self.run.client
        return client
