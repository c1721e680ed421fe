"""Pre-annotation: boxes for tasks that have none, from a model's predictions or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from plugin.model import FILE, Model
from plugin.things import features, find_things, grey_values
from synapse_core.actions import AddTaskDataAction, AddTaskDataMethod, AddTaskDataParams
from synapse_core.errors import InvalidRequest


class Params(AddTaskDataParams):
    """Which tasks, and where their annotations come from."""

    method: AddTaskDataMethod = Field(
        default=AddTaskDataMethod.INFERENCE, description="Where the annotations come from"
    )
    project: int | None = Field(
        default=None, description="Project whose open tasks are annotated; the newest if left out"
    )
    task_ids: list[int] | None = Field(
        default=None, description="These tasks, whatever they hold; else those that are open and hold nothing"
    )
    submit: bool = Field(
        default=False, description="Make assignments of the tasks; else they stay open for a review"
    )
    model_id: int | None = Field(
        default=None, description="Method inference: id of a model of `train`; its newest if left out"
    )
    gap_pixels: int = Field(
        default=8, ge=0, le=100, description="Pieces of ink nearer than this are one thing"
    )
    smallest_pixels: int = Field(default=30, ge=1, description="Things with less ink are left out")
    least_agreement: float = Field(
        default=0.0, ge=0, le=1, description="Share of the neighbours that has to agree on a class"
    )

    @model_validator(mode="after")
    def _check_method(self) -> Params:
        has_file = self.file_path is not None or self.target_specification_name is not None
        if self.method == AddTaskDataMethod.FILE and not has_file:
            raise ValueError("method file needs file_path, or target_specification_name")
        if self.method == AddTaskDataMethod.INFERENCE and has_file:
            raise ValueError("method inference reads no file; set method to file")
        return self


class AnnotateAction(AddTaskDataAction[Params]):
    """Put boxes on tasks; one that fails does not stop the others, and a failed run changes none."""

    params_model = Params

    def run(self) -> Any:
        chosen: dict[str, Any] = {}
        if self.params.method == AddTaskDataMethod.INFERENCE and self.params.model_id is None:
            chosen["model_id"] = self._newest_model()
        if self.params.task_ids is None:
            chosen["project"] = self._project()
            chosen["task_ids"] = self._empty_tasks(chosen["project"])
        self.params = self.params.model_copy(update=chosen)
        return super().run()

    def infer(self, model: Any, inputs: list[Any]) -> list[Any]:
        """Return for each picture the boxes in it: [(class, agreement, box)]."""
        known = Model.load(Path(model["path"]) / FILE)
        return [self._look(known, given["path"]) for given in inputs]

    def convert_data_from_inference(
        self, inference_data: Any, task_data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the boxes as a DM document."""
        boxes = [
            {
                "id": f"box{number}",
                "classification": name,
                "attrs": [{"name": "agreement", "value": round(agreement, 3)}],
                "data": list(box),
            }
            for number, (name, agreement, box) in enumerate(inference_data, start=1)
        ]
        self._boxes += len(boxes)
        classes = sorted({name for name, _, _ in inference_data})
        return {"classification": {"bounding_box": classes}, "images": [{"bounding_box": boxes}]}

    def get_result(self, context: Any, summary: dict[str, Any]) -> dict[str, Any]:
        result = super().get_result(context, summary)
        if self.params.method == AddTaskDataMethod.INFERENCE:
            result |= {"model_id": self.params.model_id, "boxes": self._boxes}
            self.set_metrics({"boxes": self._boxes}, category="inference")
        return result

    _boxes = 0

    def _look(self, model: Model, path: str) -> list[tuple[str, float, list[int]]]:
        grey = grey_values(path)
        boxes = find_things(grey, self.params.gap_pixels, self.params.smallest_pixels)
        named = model.classify([features(grey, box) for box in boxes])
        return [
            (name, agreement, list(box))
            for (name, agreement), box in zip(named, boxes, strict=True)
            if agreement >= self.params.least_agreement
        ]

    def _newest_model(self) -> int:
        newest = max(
            (model.id for model in self.client.list_models({"plugin": "pre_annotate"})), default=None
        )
        if newest is None:
            raise InvalidRequest(
                "No model is registered yet.",
                hint="Run pre_annotate/train, then this again; or give model_id.",
            )
        return newest

    def _project(self) -> int:
        if self.params.project is not None:
            return self.client.get_project(self.params.project).id
        newest = max((project.id for project in self.client.list_projects()), default=None)
        if newest is None:
            raise InvalidRequest(
                "The backend has no project, so there are no tasks.",
                hint="Make one; `synapse-mcp demo --seed` adds one to try this with.",
            )
        self.log_message(f"No project is given; project {newest} is annotated, the newest.")
        return newest

    def _empty_tasks(self, project: int) -> list[int]:
        """Return the ids of tasks that nobody has annotated: what somebody has begun is left alone."""
        filters = {"status": "open", **self.params.task_filters, "project": project}
        return [task.id for task in self.client.list_tasks(filters) if task.data is None]
