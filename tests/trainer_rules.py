"""What ultralytics takes of a YOLO dataset: its rules, written down from the source of its loader."""

from __future__ import annotations

from pathlib import Path

import yaml


def accepted_by_the_trainer(
    label_text: str, nc: int, task: str, kpt_shape: tuple[int, int] | None = None
) -> bool:
    """Return True where the loader keeps the image of a label file; one bad row discards all of it.

    Source: ultralytics 8.4, `verify_image_label`; that no box stands among polygons, and that a turned box
    has four corners, is what its documentation asks for and the loader would misread.
    """
    rows = [[float(part) for part in line.split()] for line in label_text.strip().splitlines() if line]
    lengths = {len(row) for row in rows}
    if task == "pose":
        assert kpt_shape is not None
        has_columns = lengths <= {5 + kpt_shape[0] * kpt_shape[1]}
    elif task == "obb":
        has_columns = lengths <= {9}
    elif task == "segment":
        has_columns = all(length >= 7 and length % 2 == 1 for length in lengths)
    else:
        has_columns = lengths <= {5}
    if not has_columns:
        return False
    for row in rows:
        places = row[1:]
        if task == "pose" and kpt_shape is not None and kpt_shape[1] == 3:
            places = [value for at, value in enumerate(row[1:]) if at < 4 or (at - 4) % 3 != 2]
            if any(value not in (0, 1, 2) for value in row[7::3]):
                return False
        if row[0] != int(row[0]) or not 0 <= row[0] < nc:
            return False
        if not all(-0.01 <= value <= 1.01 for value in places):
            return False
        if task in ("detect", "pose") and not (row[3] > 0 and row[4] > 0):
            return False
    return True


def refused_by_the_trainer(root: Path) -> dict[str, str]:
    """Return what of a written YOLO dataset a trainer would not take: file -> its text or what is wrong."""
    description = yaml.safe_load((root / "data.yaml").read_text())
    nc, names, shape = description["nc"], description["names"], description.get("kpt_shape")
    refused = {}
    if [*names] != [*range(nc)]:
        refused["data.yaml"] = f"names {names}, nc {nc}"
    if shape is not None and sorted(description["flip_idx"]) != [*range(shape[0])]:
        refused["data.yaml"] = f"flip_idx {description['flip_idx']}"
    for path in sorted((root / "labels").rglob("*.txt")):
        text = path.read_text()
        if not accepted_by_the_trainer(text, nc, description["task"], shape and tuple(shape)):
            refused[str(path.relative_to(root))] = text
    listed = [
        root / place
        for key in description
        if key not in ("path", "task", "nc", "names", "kpt_shape", "kpt_names", "flip_idx")
        for place in ([description[key]] if isinstance(description[key], str) else description[key])
    ]
    for image in (root / "images").rglob("*"):
        if image.is_file() and not any(image.is_relative_to(place) for place in listed):
            refused[str(image.relative_to(root))] = "in none of the folders of data.yaml"
    return refused
