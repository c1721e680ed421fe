"""Upload of images: the built-in steps, and one of its own that looks into each image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, Field

from synapse_core.actions import BaseUploadAction, UploadContext
from synapse_core.actions.upload import FailureCode
from synapse_core.steps import BaseStep, StepRegistry, StepResult

SAMPLES = Path(__file__).resolve().parents[1] / "sample_sheets"
_EXTENSIONS = [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"]


class Params(BaseModel):
    """What to upload, and where to. Whatever else an upload can be told is as it usually is."""

    path: str = Field(
        default_factory=lambda: str(SAMPLES),
        min_length=1,
        description="A folder of images; the plugin's four sample sheets if left out",
    )
    is_recursive: bool = Field(default=True, description="Take the images of sub-folders too")
    data_collection: int | None = Field(
        default=None, description="Id of the collection to add to; the one called `name` if left out"
    )
    name: str = Field(
        default="",
        description="Name of the collection, which is made if it is not there; the folder's if left out",
    )
    group_name: str | None = Field(default=None, description="Group that the data units belong to")
    excel_metadata_path: str | None = Field(
        default=None, description="XLSX or CSV table of metadata; meta.xlsx or meta.csv of path if left out"
    )
    max_file_size_mb: float = Field(default=50, gt=0, description="Larger files are left out, in MiB")
    skip_existing_checksums: bool = Field(
        default=True, description="Skip images that the collection has already"
    )
    most_megapixels: float = Field(default=100, gt=0, le=1000, description="Larger images are left out")


class MeasureImagesStep(BaseStep[UploadContext]):
    """Opens each image: its size becomes metadata of its data unit, and a broken one is left out."""

    @property
    def name(self) -> str:
        return "measure_images"

    @property
    def progress_weight(self) -> float:
        return 0.10

    def execute(self, context: UploadContext) -> StepResult:
        groups = context.organized_files
        total = len(groups)
        for number, (label, group) in enumerate(list(groups.items()), start=1):
            context.runtime_ctx.raise_if_stopped()
            file = context.primary_of(group)
            try:
                group.meta |= _measured(file.path, context.params.most_megapixels)
            except _Refused as refused:
                context.outcome.fail(file.relative, FailureCode.FILE_CORRUPTED, str(refused))
                del groups[label]
            context.set_progress(number, total)
        if not groups:
            return StepResult(success=False, error=f"No image can be read: {context.outcome.first_reason()}.")
        return StepResult(data={"images": len(groups)})


class UploadAction(BaseUploadAction[Params]):
    """Upload the images of a folder, in nine steps that can be undone."""

    params_model = Params

    def get_allowed_extensions(self) -> dict[str, list[str]]:
        return {"image": _EXTENSIONS}

    def setup_steps(self, registry: StepRegistry[Any]) -> None:
        super().setup_steps(registry)
        registry.insert_after("organize_files", MeasureImagesStep())


class _Refused(Exception):
    """An image that is not uploaded, and why."""


def _measured(path: str, most_megapixels: float) -> dict[str, int]:
    """Return the width and height of an image in pixels, after a look at the whole of it."""
    try:
        with warnings.catch_warnings():
            # The limit is a parameter here; Pillow's own only warns.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                if width * height > most_megapixels * 1e6:
                    raise _Refused(f"it has {width} x {height} pixels, more than {most_megapixels:g} million")
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _Refused(f"it is no whole image: {error}") from error
    return {"width": width, "height": height}
