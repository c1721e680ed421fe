"""The action behind the tool convert_dataset: a conversion that is a run like any other."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel, Field

from synapse_core.base_action import BaseAction
from synapse_core.datasets import ConversionResult, convert

ENTRYPOINT = f"{__name__}:ConvertDatasetAction"
# What is told of a conversion where all of it may not be: the rest stands in the output's synapse.json.
_MOST_REASONS = 12
_MOST_CLASSES = 20


class ConvertDatasetParams(BaseModel):
    """What to convert, and how; options are those of ConvertOptions."""

    path: str
    to: str
    output: str | None = None
    source_format: str = "auto"
    dry_run: bool = False
    options: dict[str, Any] = Field(default_factory=dict)


class ConvertDatasetAction(BaseAction[ConvertDatasetParams]):
    """Converts a dataset and returns what was lost."""

    action_name = "convert_dataset"

    def execute(self) -> dict[str, Any]:
        """Return the report in brief. Raises what `convert` raises."""
        params = self.params
        result = convert(
            params.path,
            params.to,
            params.output,
            source_format=params.source_format,
            dry_run=params.dry_run,
            on_progress=self._tell,
            **params.options,
        )
        self.ctx.log_message(f"{result.losses.written:,} of {result.losses.seen:,} annotations written.")
        return brief(result)

    def _tell(self, done: int, total: int) -> None:
        self.ctx.raise_if_stopped()
        self.ctx.set_progress(done, total, "convert")


def brief(result: ConversionResult) -> dict[str, Any]:
    """Return what an agent has to know of a conversion, in a few hundred bytes to a few thousand."""
    losses = result.losses
    changed = [entry for entry in losses.classes if entry.before != entry.after]
    reasons = {
        code: {"count": count, "example": _example(losses.examples.get(code, []))}
        for code, count in list(losses.reasons.items())[:_MOST_REASONS]
    }
    told: dict[str, Any] = {
        "source_format": result.source_format,
        "target_format": result.target_format,
        "output": result.output,
        "config_path": result.config_path,
        "items": losses.items,
        "is_lossless": losses.is_lossless,
        "largest_error_pixels": losses.largest_error_pixels,
        "kinds": msgspec.to_builtins(losses.kinds),
        "reasons": reasons,
        "classes": len(losses.classes),
        "classes_changed": {
            entry.name[:80]: [entry.before, entry.after] for entry in changed[:_MOST_CLASSES]
        },
        "losses_path": result.losses_path,
        "renamed": result.renamed,
        "seconds": round(result.seconds, 3),
    }
    if len(changed) > _MOST_CLASSES:
        told["classes_changed_left_out"] = len(changed) - _MOST_CLASSES
    return {name: value for name, value in told.items() if value is not None and value != {}}


def _example(entries: list[Any]) -> str:
    """Return the first entry of a code as one line."""
    if not entries:
        return ""
    first = entries[0]
    place = first.where if first.where.startswith(first.item) else f"{first.item} ({first.where})"
    return f"{place}: {first.message}".rstrip(": ")[:160]
