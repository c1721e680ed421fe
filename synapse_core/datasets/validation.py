"""validate(): whether a dataset is what it says, and where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from synapse_core.datasets.problems import Problem, problems_of
from synapse_core.datasets.reading import open_dataset
from synapse_core.datasets.survey import survey


class ValidationReport(msgspec.Struct):
    """What is wrong with a dataset.

    is_valid: there is no error. An error is what makes a reader lose or misunderstand something, such as a
    broken row, a class that is not listed or an image that is not there; a warning is what one can live with,
    such as a box that leaves its image in part, or that is there twice.
    """

    is_valid: bool
    format: str
    images: int
    annotations: int
    errors: int
    warnings: int
    problems: list[Problem]


def validate(source: str | Path, source_format: str = "auto", **options: Any) -> ValidationReport:
    """Read a whole dataset and tell what is wrong with it, by code, with the first examples.

    Coordinates that are not finite, boxes without area or outside of their image, duplicates, classes and
    images that are not listed, labels without an image, images that are missing, that are none, or that have
    another size than is stated (from the header of each file; images are not decoded), masks that do not fit.
    options: those of `convert` that are about reading (task, voc_coordinates).
    Raises NotFound, UnknownFormat, UnrecognisedDataset, AmbiguousDataset or InvalidDataset.
    """
    opened = open_dataset(source, source_format, **options)
    found = survey(opened, is_thorough=True)
    problems = problems_of(found.losses.codes, found.examples)
    errors = sum(problem.count for problem in problems if problem.severity == "error")
    return ValidationReport(
        is_valid=errors == 0,
        format=opened.format.name,
        images=found.items,
        annotations=found.annotations,
        errors=errors,
        warnings=sum(problem.count for problem in problems) - errors,
        problems=problems,
    )
