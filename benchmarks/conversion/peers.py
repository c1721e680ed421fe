"""`python peers.py TOOL NAME SOURCE OUTPUT`: one conversion by another tool, in a process of its own.

Run by the interpreter that has the tool, so nothing of ours is imported. Labels alone where the tool lets one
choose; synapse-sdk always copies the images. Each gets its input in the layout that it wants: SOURCE is the
folder of all layouts. Prints how many seconds the conversion took after the imports, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# Imports what it needs and returns what converts.
_Prepare = Callable[[Path, Path], Callable[[], object]]


def _datumaro(layout: str, source_format: str, target_format: str) -> _Prepare:
    def prepare(source: Path, output: Path) -> Callable[[], object]:
        from datumaro.components.dataset import Dataset

        def convert() -> None:
            dataset = Dataset.import_from(str(source / layout), source_format)
            dataset.export(str(output), target_format, save_media=False)

        return convert

    return prepare


def _supervision(source_name: str, target_name: str) -> _Prepare:
    def prepare(source: Path, output: Path) -> Callable[[], object]:
        from supervision import DetectionDataset

        def convert() -> None:
            if source_name == "coco":
                annotations = source / "coco/annotations/instances_train.json"
                dataset = DetectionDataset.from_coco(str(source / "coco/images/train"), str(annotations))
            elif source_name == "yolo":
                folder = source / "yolo"
                dataset = DetectionDataset.from_yolo(
                    str(folder / "images/train"), str(folder / "labels/train"), str(folder / "data.yaml")
                )
            else:
                folder = source / "voc"
                dataset = DetectionDataset.from_pascal_voc(
                    str(folder / "JPEGImages"), str(folder / "Annotations")
                )
            output.mkdir(parents=True)
            if target_name == "coco":
                dataset.as_coco(annotations_path=str(output / "instances.json"))
            elif target_name == "yolo":
                dataset.as_yolo(
                    annotations_directory_path=str(output / "labels"),
                    data_yaml_path=str(output / "data.yaml"),
                )
            else:
                dataset.as_pascal_voc(annotations_directory_path=str(output / "Annotations"))

        return convert

    return prepare


def _globox(source_name: str, target_name: str) -> _Prepare:
    def prepare(source: Path, output: Path) -> Callable[[], object]:
        from globox import AnnotationSet

        def convert() -> None:
            if source_name == "coco":
                boxes = AnnotationSet.from_coco(source / "coco/annotations/instances_train.json")
            elif source_name == "yolo":
                # Its reader of darknet's files; that of YOLOv5 is the same with a score at the end.
                boxes = AnnotationSet.from_yolo_darknet(
                    source / "yolo/labels/train", image_folder=source / "yolo/images/train"
                )
            else:
                boxes = AnnotationSet.from_pascal_voc(source / "voc/Annotations")
            output.mkdir(parents=True)
            if target_name == "coco":
                boxes.save_coco(output / "instances.json", auto_ids=True)
            elif target_name == "yolo":
                names = (source / "darknet/obj.names").read_text().split()
                labels = {name: index for index, name in enumerate(names)}
                boxes.save_yolo_darknet(output, label_to_id=labels)
            else:
                boxes.save_pascal_voc(output)

        return convert

    return prepare


def _sdk_yolo_to_dm(source: Path, output: Path) -> Callable[[], object]:
    from synapse_sdk.utils.converters import get_converter

    def convert() -> None:
        converter = get_converter("yolo", "dm_v2", root_dir=source / "yolo_flat")
        converter.convert()
        converter.save_to_folder(output)

    return convert


def _sdk_coco_to_dm(source: Path, output: Path) -> Callable[[], object]:
    from synapse_sdk.utils.converters import get_converter

    def convert() -> None:
        converter = get_converter("coco", "dm_v2", root_dir=source / "coco_flat")
        converter.convert()
        converter.save_to_folder(output)

    return convert


def _sdk_dm_to_yolo(source: Path, output: Path) -> Callable[[], object]:
    from synapse_sdk.utils.converters import FromDMToYOLOConverter
    from synapse_sdk.utils.converters.dm.types import build_export_contract

    def convert() -> None:
        # A folder is converted by the method for single files, which wants this to be told.
        converter = FromDMToYOLOConverter(
            root_dir=source / "dm",
            is_single_conversion=True,
            export_contract=build_export_contract("exclude"),
        )
        converter.convert()
        converter.save_to_folder(output)

    return convert


def _sdk_dm_to_coco(source: Path, output: Path) -> Callable[[], object]:
    """It makes a dataset of each image; they are put together here, as its users have to."""
    from synapse_sdk.utils.converters import FromDMToCOCOConverter
    from synapse_sdk.utils.converters.base import BaseConverter
    from synapse_sdk.utils.converters.dm.types import build_export_contract

    def convert() -> None:
        converter = FromDMToCOCOConverter(build_export_contract("exclude"))
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        numbers: dict[str, int] = {}
        for path in sorted((source / "dm/json").iterdir()):
            image = source / f"dm/original_files/{path.stem}.jpg"
            width, height, _ = BaseConverter.safe_image_size(image)
            found = converter.convert_item(
                json.loads(path.read_text()),
                annotation_meta=None,
                item_id=path.stem,
                file_name=f"images/{image.name}",
                width=width,
                height=height,
            ).datasets["instances"]
            names = {category.id: category.name for category in found.categories}
            images.append({**found.images[0].model_dump(), "id": len(images) + 1})
            for one in found.annotations:
                number = numbers.setdefault(names[one.category_id], len(numbers) + 1)
                annotations.append(
                    {
                        **one.model_dump(exclude_none=True),
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "category_id": number,
                    }
                )
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        output.mkdir(parents=True)
        (output / "instances.json").write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )

    return convert


TOOLS: Mapping[str, Mapping[str, _Prepare]] = {
    "datumaro": {
        "coco2yolo": _datumaro("coco", "coco", "yolo"),
        "yolo2coco": _datumaro("darknet", "yolo", "coco_instances"),
        "coco2voc": _datumaro("coco", "coco", "voc_detection"),
        "voc2coco": _datumaro("voc", "voc_detection", "coco_instances"),
    },
    "supervision": {
        "coco2yolo": _supervision("coco", "yolo"),
        "yolo2coco": _supervision("yolo", "coco"),
        "coco2voc": _supervision("coco", "voc"),
        "voc2coco": _supervision("voc", "coco"),
    },
    "globox": {
        "coco2yolo": _globox("coco", "yolo"),
        "yolo2coco": _globox("yolo", "coco"),
        "coco2voc": _globox("coco", "voc"),
        "voc2coco": _globox("voc", "coco"),
    },
    "synapse-sdk": {
        "yolo2dm": _sdk_yolo_to_dm,
        "dm2yolo": _sdk_dm_to_yolo,
        "coco2dm": _sdk_coco_to_dm,
        "dm2coco": _sdk_dm_to_coco,
    },
}


if __name__ == "__main__":
    convert = TOOLS[sys.argv[1]][sys.argv[2]](Path(sys.argv[3]), Path(sys.argv[4]))
    begun = time.perf_counter()
    convert()
    print(json.dumps({"convert_seconds": time.perf_counter() - begun}))
