"""What the steps of an export share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_core.actions.export.tally import Tally
from synapse_core.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_core.actions.export.exporter import ExportHooks
    from synapse_core.actions.export.output import Folder
    from synapse_core.actions.export.targets import TargetHandler
    from synapse_core.storage import Storage


@dataclass
class ExportContext(BaseStepContext):
    """The state of an export.

    action: whose parameters, backend and hooks are used.
    results, export_items, converted_items: the records, the items made of them, the items after the
        conversion. They are iterables that read page by page: go through them as often as needed, hold none.
    path_root: in the storage, where exports are made. unique_export_path: the folder of this one.
    output_paths: `json` and `origin_files` -> their folders, as the storage's paths.
    errors_json, errors_original: [file name, reason] of each file that could not be written.
    name_changes: what is not called as it was, for filename_collisions.json.
    """

    action: Any = None
    params: Any = None
    results: Iterable[Any] = ()
    total_count: int = 0
    exported_count: int = 0
    failed_count: int = 0
    output_path: str | None = None
    export_items: Iterable[dict[str, Any]] = ()
    converted_items: Iterable[dict[str, Any]] = ()
    path_root: str = ""
    storage: Storage | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    project_id: int | None = None
    handler: TargetHandler | None = None
    folder: Folder | None = None
    unique_export_path: str | None = None
    label_output_dirname: str | None = "labels"
    output_paths: dict[str, Any] = field(default_factory=dict)
    export_params: dict[str, Any] = field(default_factory=dict)
    exporter: ExportHooks | None = None
    errors_json: list[list[str]] = field(default_factory=list)
    errors_original: list[list[str]] = field(default_factory=list)
    name_changes: list[dict[str, Any]] = field(default_factory=list)
    filename_collision_count: int = 0
    written_file_count: int = 0
    written_bytes: int = 0
    page_failures: int = 0
    fetch_filters: dict[str, Any] = field(default_factory=dict)
    last_completed_item: int | None = None
    tally: Tally = field(default_factory=Tally)

    @property
    def config(self) -> dict[str, Any]:
        """The project's configuration, by its other name."""
        return self.configuration
