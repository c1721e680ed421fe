"""The detector behind an address."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any, ClassVar

from PIL import Image
from pydantic import BaseModel, Field

from plugin.detector import Detector
from plugin.regions import pixels_of
from plugin.scoring import LEAST_SCORE
from synapse_core.actions.inference import BaseServeDeployment

# A small file can unfold into a picture that fills the memory.
_MOST_PIXELS = 4_000_000
# A white picture with a black square, which a new version is asked first.
_SAMPLE = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQAAAACCEkxzAAAAHklEQVR42mP8zwABTAxDifGRkVFgqLmZIINxCMYF"
    "AA5NA4A4zTCYAAAAAElFTkSuQmCC"
)


class PictureInput(BaseModel):
    """One picture to look at."""

    image: str = Field(min_length=1, description="A PNG or JPEG file, in base64")
    least_score: float = Field(default=LEAST_SCORE, ge=0, le=1, description="Leave out what is less sure")


class ShapesServe(BaseServeDeployment):
    """Finds shapes: each input is {"image": base64, "least_score": 0.5}; boxes are x, y, width, height."""

    input_model = PictureInput
    sample_inputs: ClassVar[list[Any]] = [{"image": _SAMPLE}]

    async def _get_model(self, model_info: dict[str, Any]) -> Detector:
        return Detector.load(model_info["path"])

    async def infer(self, inputs: list[PictureInput]) -> list[dict[str, Any]]:
        detector = await self.get_model()
        return [_answer(detector, one) for one in inputs]


def _answer(detector: Detector, asked: PictureInput) -> dict[str, Any]:
    picture = decoded(asked.image)
    found = detector.find(pixels_of(picture), asked.least_score)
    boxes = [{"class": one.name, "box": list(one.box), "score": round(one.score, 4)} for one in found]
    return {"width": picture.width, "height": picture.height, "boxes": boxes}


def decoded(image: str) -> Image.Image:
    """Return the picture in a base64 text. Raises ValueError for what is none, or is too large."""
    try:
        opened = Image.open(io.BytesIO(base64.b64decode(image, validate=True)), formats=("PNG", "JPEG"))
        if opened.width * opened.height > _MOST_PIXELS:
            raise ValueError(f"it has {opened.width} x {opened.height} pixels; {_MOST_PIXELS:,} are taken")
        opened.load()
    except (binascii.Error, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"image is no picture that can be looked at: {error}") from error
    return opened
