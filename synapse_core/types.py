"""Semantic data types: what flows from one action into the next. Markers only; they hold no data."""

from __future__ import annotations

from typing import ClassVar


class DataType:
    """The root of all data types.

    name: how `config.yaml` writes the type. format: the storage format it implies, if any.
    """

    name: ClassVar[str] = "data"
    format: ClassVar[str | None] = None
    description: ClassVar[str] = "Any data"


class Dataset(DataType):
    name = "dataset"
    description = "An annotated dataset in any format"


class DMDataset(Dataset):
    name = "dm_dataset"
    format = "dm"
    description = "A dataset in a DM format"


class DMv1Dataset(DMDataset):
    name = "dm_v1_dataset"
    format = "dm_v1"
    description = "A dataset in DM version 1"


class DMv2Dataset(DMDataset):
    name = "dm_v2_dataset"
    format = "dm_v2"
    description = "A dataset in DM version 2"


class YOLODataset(Dataset):
    name = "yolo_dataset"
    format = "yolo"
    description = "A dataset in YOLO format"


class COCODataset(Dataset):
    name = "coco_dataset"
    format = "coco"
    description = "A dataset in COCO format"


class PascalVOCDataset(Dataset):
    name = "pascal_voc_dataset"
    format = "pascal"
    description = "A dataset in Pascal VOC format"


class Model(DataType):
    name = "model"
    description = "A trained model in any format"


class ModelWeights(Model):
    name = "model_weights"
    format = "weights"
    description = "The weights of a trained model"


class ONNXModel(Model):
    name = "onnx_model"
    format = "onnx"
    description = "A model in ONNX format"


class TensorRTModel(Model):
    name = "tensorrt_model"
    format = "tensorrt"
    description = "A model in TensorRT format"


class Result(DataType):
    name = "result"
    description = "Any result of an action"


class TestResults(Result):
    __test__ = False  # the name is the public API's; pytest must not collect it
    name = "test_results"
    format = "metrics"
    description = "Metrics of a test"


class InferenceResults(Result):
    name = "inference_results"
    format = "predictions"
    description = "Predictions of a model"


def are_compatible(produced: type[DataType], consumed: type[DataType]) -> bool:
    """Return True where one of the two types is a kind of the other."""
    return issubclass(produced, consumed) or issubclass(consumed, produced)
