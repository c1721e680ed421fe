"""Export in COCO: items are put down as a DM dataset on this machine, which is converted as a whole.

Images are needed here for their sizes, so the machine has to have room for them while the export runs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from synapse_core.actions import DefaultExportAction, ExportParams
from synapse_core.actions.export import ExportStatus
from synapse_core.datasets import ConversionResult, convert, convert_v1_to_v2
from synapse_core.errors import InvalidRequest

_LOSSES = "losses.jsonl"


class Params(ExportParams):
    """What to export, and where to."""

    name: str = Field(default="coco", min_length=1, description="Name of the folder that is made")
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="Which of them: {'project': 1}, or {'ground_truth_version': 1} for target ground_truth; "
        "the newest if left out",
    )
    classes: list[str] | None = Field(
        default=None, min_length=1, description="Only these, in this order; all of them, by name, if left out"
    )


class ExportAction(DefaultExportAction[Params]):
    """Export annotations as one COCO dataset; an image that cannot be read fails alone.

    The result has besides: config_path (the instances file, None where nothing was exported),
    annotations (how many are in it), classes (their names) and losses (reason -> how often).
    """

    label_output_dirname = None
    original_output_dirname = "images"
    _work = Path()
    _made: dict[str, Any]

    def run(self) -> Any:
        if not self.params.filter:
            self.params = self.params.model_copy(update={"filter": self._newest()})
        self._made = {"config_path": None, "annotations": 0, "classes": [], "losses": {}}
        with tempfile.TemporaryDirectory(prefix="synapse-coco-") as folder:
            self._work = Path(folder)
            for name in ("fetched", "dm/json", "dm/original_files"):
                (self._work / name).mkdir(parents=True)
            return super().run()

    def convert_data(self, data: Any) -> Any:
        """Return the item with its annotations as a DM document of version 2."""
        document = data["data"]
        if document is not None and not document.keys().isdisjoint(("annotations", "annotationsData")):
            document = convert_v1_to_v2(document)["annotation_data"]
        return {**data, "data": document}

    def save_original_file(self, result: dict[str, Any], base_path: Any, error_file_list: Any) -> Any:
        with self._picture(result).open("rb") as source, self._open(base_path, result) as target:
            shutil.copyfileobj(source, target)
        return ExportStatus.SUCCESS

    def save_as_json(self, result: dict[str, Any], base_path: Any, error_file_list: Any) -> Any:
        """Put an item down for the conversion, which comes when all items are there."""
        picture = self._picture(result)
        text = json.dumps(result["data"], ensure_ascii=False, allow_nan=False)
        (self._dataset / "json" / f"{picture.stem}.json").write_text(text, encoding="utf-8")
        picture.rename(self._dataset / "original_files" / picture.name)
        return ExportStatus.STAND_BY

    def additional_file_saving(self, unique_export_path: Any) -> None:
        """Convert what was put down, and write the one file of instances."""
        if not any((self._dataset / "json").iterdir()):
            self.log_message("There is nothing that could be exported.", "warning")
            return
        order = {"classes": self.params.classes} if self.params.classes else {"class_order": "name"}
        done = convert(
            self._dataset,
            "coco",
            self._work / "coco",
            source_format="dm_v2",
            on_progress=self._tell,
            images="none",
            **order,
        )
        instances = Path(str(done.config_path))
        folder = unique_export_path / "annotations"
        folder.mkdir()
        _copy(instances, folder / instances.name)
        if done.losses.reasons:
            _copy(Path(str(done.losses_path)), unique_export_path / _LOSSES)
        self._note(done, str(folder / instances.name))

    def get_result(self, context: Any, summary: dict[str, Any]) -> dict[str, Any]:
        return {**super().get_result(context, summary), "format": "coco", **self._made}

    @property
    def _dataset(self) -> Path:
        return self._work / "dm"

    def _newest(self) -> dict[str, int]:
        """Return the filter for the newest project, or ground truth version. Raises InvalidRequest."""
        if self.params.target == "ground_truth":
            field, found = "ground_truth_version", self.client.list_ground_truth_versions()
        else:
            field, found = "project", self.client.list_projects()
        newest = max((record.id for record in found), default=None)
        if newest is None:
            raise InvalidRequest(
                f"The backend has no {field.replace('_', ' ')} to export.",
                hint="Annotate something first; `synapse-mcp demo --seed` adds a project to try it with.",
            )
        self.log_message(f"No filter is given; {field} {newest} is exported, the newest.")
        return {field: newest}

    def _picture(self, item: Mapping[str, Any]) -> Path:
        """Return an item's image on this machine, fetched where it is not there yet."""
        files = item["files"]
        if "storage" not in files:
            raise InvalidRequest(f"Item {item['id']} has no image.")
        path = self._work / "fetched" / files["file_name_original"]
        return path if path.exists() else self.fetch_original_file(dict(item), path)

    def _open(self, folder: Any, item: Mapping[str, Any]) -> Any:
        return (folder / item["files"]["file_name_original"]).open("wb")

    def _tell(self, done: int, total: int) -> None:
        self.ctx.raise_if_stopped()
        self.set_progress(done, max(total, 1), category=self.progress.DATASET_CONVERSION)

    def _note(self, done: ConversionResult, config_path: str) -> None:
        losses = done.losses
        written = [entry.name for entry in losses.classes if entry.after]
        self._made = {
            "config_path": config_path,
            "annotations": losses.written,
            "classes": [name for name in self.params.classes or sorted(written) if name in written],
            "losses": losses.reasons,
        }
        self.set_metrics({"annotations": losses.written, "seen": losses.seen}, category="coco")
        if losses.reasons:
            told = ", ".join(f"{code} ({number})" for code, number in losses.reasons.items())
            self.log_message(f"Not everything could be kept: {told}. See {_LOSSES}.", "warning")


def _copy(source: Path, target: Any) -> None:
    with source.open("rb") as begin, target.open("wb") as end:
        shutil.copyfileobj(begin, end)
