"""DatasetAction: a dataset is fetched from the backend, or converted from one format to another."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pydantic
from pydantic import BaseModel, Field

from synapse_core.actions.dataset_download import download_dataset
from synapse_core.actions.pace import Pace
from synapse_core.actions.turns import turn_at
from synapse_core.actions.workflow import WorkflowAction
from synapse_core.datasets.card import CARD_NAME
from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats import find_format
from synapse_core.datasets.options import make_options
from synapse_core.datasets.source import open_source, walk
from synapse_core.enums import PluginCategory
from synapse_core.errors import InvalidRequest
from synapse_core.types import Dataset


class DatasetOperation(StrEnum):
    """What is done with a dataset."""

    DOWNLOAD = "download"
    CONVERT = "convert"


class DatasetProgressCategories:
    """Under which names the action reports its progress."""

    DATASET_DOWNLOAD = "dataset_download"
    DATASET_CONVERSION = "dataset_conversion"


class DatasetParams(BaseModel):
    """What to do.

    dataset, splits: for a download; splits is name -> filters. path, source_format, target_format,
    dm_version, options: for a conversion; dm_version chooses where a format is just `dm`, options are those
    of ConvertOptions, `task` or `splits` for example. A conversion without a path downloads `dataset` first.
    is_categorized: the dataset has splits.
    """

    operation: DatasetOperation = Field(
        default=DatasetOperation.DOWNLOAD, description="Download a dataset, or convert one"
    )
    dataset: int | None = Field(
        default=None, description="Id of the ground truth dataset version to download"
    )
    splits: dict[str, Any] | None = Field(default=None, description="Split name -> filters of what it gets")
    path: str | None = Field(default=None, description="The dataset to convert: a folder, a file or a URL")
    source_format: str = Field(default="dm_v2", description="Its format; 'auto' has it detected")
    target_format: str | None = Field(default="yolo", description="The format to convert to")
    dm_version: str = Field(default="v2", pattern="^v[12]$", description="What 'dm' stands for")
    output_dir: str | None = Field(default=None, description="Where to write; the cache, or <path>_<format>")
    is_categorized: bool = Field(default=False, description="The dataset has train, valid and test")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the conversion")


class DatasetResult(BaseModel):
    """Where the dataset is. count: its items. losses: why annotations changed, code -> how often.

    It can stand for its `data_path` wherever a path is taken, and be read like a mapping.
    """

    path: Path
    format: str
    is_categorized: bool = False
    config_path: Path | None = None
    count: int | None = None
    source_path: Path | None = None
    losses: dict[str, int] = Field(default_factory=dict)

    @property
    def data_path(self) -> Path:
        """What a training wants: the file that describes the dataset, or its folder."""
        return self.config_path or self.path

    def __fspath__(self) -> str:
        return str(self.data_path)

    def __str__(self) -> str:
        return str(self.data_path)

    def __getitem__(self, name: str) -> Any:
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)


P = TypeVar("P", bound=DatasetParams)


class DatasetAction(WorkflowAction[P]):
    """Downloads or converts a dataset, as `operation` says."""

    category: ClassVar[PluginCategory | str | None] = PluginCategory.NEURAL_NET
    output_type = Dataset
    params_model: ClassVar[type[pydantic.BaseModel] | None] = DatasetParams
    result_model = DatasetResult
    progress = DatasetProgressCategories

    def execute(self) -> Any:
        if self.params.operation is DatasetOperation.CONVERT:
            return self.convert()
        return self.download()

    def download(self) -> DatasetResult:
        """Fetch a ground truth version from the backend as a DM dataset, unless it is there already.

        Raises NoBackend, and what `download_dataset` does; InvalidRequest where dataset is missing.
        """
        output = self.params.output_dir
        return self._download(None if output is None else Path(output).expanduser().absolute())

    def convert(self) -> DatasetResult:
        """Convert the dataset at `path`, or a downloaded one, unless that was done already.

        Raises what `convert` of synapse_core.datasets does; InvalidRequest where it is not said what or how.
        """
        params = self.params
        if params.target_format is None:
            raise InvalidRequest("target_format is missing: the format to convert to.")
        target = find_format(_named(params.target_format, params.dm_version), verb="write").name
        if params.path is not None:
            path, is_categorized = params.path, params.is_categorized
            source_format = _named(params.source_format, params.dm_version)
        elif params.dataset is not None:
            downloaded = self._download(None)
            path, is_categorized, source_format = str(downloaded.path), downloaded.is_categorized, "dm_v2"
        else:
            raise InvalidRequest("path is missing: the dataset to convert; or dataset, to download it.")
        output = Path(params.output_dir or f"{path.rstrip('/')}_{target}").expanduser().absolute()
        request = _request(path, source_format, target, params.options)
        with turn_at(output, self.ctx.raise_if_stopped):
            result = _made_before(output, request, path)
            if result is None:
                result = self._convert(path, source_format, target, output, is_categorized)
                _remember(output, request, result)
                return result
        self.log_message(f"{output} was converted before; it is used as it is.")
        self.set_progress(1, 1, self.progress.DATASET_CONVERSION)
        return result

    def _download(self, output: Path | None) -> DatasetResult:
        params = self.params
        if params.dataset is None:
            raise InvalidRequest("dataset is missing: the id of what to download.")
        pace = Pace()
        told = 0

        def tell(share: float) -> None:
            nonlocal told
            self.ctx.raise_if_stopped()
            told += 1
            if share >= 1 or pace.is_due(told, told + 1):
                self.set_progress(round(share * 100, 2), 100, self.progress.DATASET_DOWNLOAD)

        done = download_dataset(
            self.client,
            params.dataset,
            splits=params.splits,
            is_categorized=params.is_categorized,
            output=output,
            on_progress=tell,
        )
        if not done.is_new:
            self.log_message(f"{done.path} was downloaded before; it is used as it is.")
        if done.without_split:
            self.log_message(f"{done.without_split:,} items are in no split and were left out.", "warning")
        if done.without_file:
            self.log_message(f"{done.without_file:,} items have annotations and no file.", "warning")
        return DatasetResult(
            path=done.path, format="dm_v2", is_categorized=done.is_categorized, count=done.count
        )

    def _convert(
        self, path: str, source_format: str, target: str, output: Path, is_categorized: bool
    ) -> DatasetResult:
        done = convert(
            path,
            target,
            output,
            source_format=source_format,
            on_progress=self._tell,
            **self.params.options,
        )
        reasons = done.losses.reasons
        if reasons:
            told = ", ".join(f"{code} ({number})" for code, number in reasons.items())
            self.log_message(f"Not everything could be kept: {told}. See {done.losses_path}.", "warning")
        config = None if done.config_path in (None, done.output) else Path(str(done.config_path))
        return DatasetResult(
            path=output,
            format=target,
            is_categorized=is_categorized,
            config_path=config,
            count=done.losses.items,
            source_path=Path(path),
            losses=reasons,
        )

    def _tell(self, done: int, total: int) -> None:
        self.ctx.raise_if_stopped()
        self.set_progress(done, max(total, 1), self.progress.DATASET_CONVERSION)


# Beside what the conversion itself writes: what was asked for, and what came of it.
_MARK = ".complete"


def _named(name: str, version: str) -> str:
    return f"dm_{version}" if name == "dm" else name


def _request(path: str, source_format: str, target: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the same output follows from."""
    return {
        "path": str(Path(path).absolute()) if "://" not in path else path,
        "source_format": source_format,
        "target_format": target,
        "options": json.loads(json.dumps(make_options(**options).deciding())),
    }


def _newest(path: str) -> float:
    """Return when anything below a path was last changed, in seconds."""
    source = open_source(path)
    if "://" in source.root:
        return float("inf")  # nobody knows
    names = [source.only] if source.only is not None else walk(source)
    return max((Path(source.path(name)).stat().st_mtime for name in names), default=0.0)


def _made_before(output: Path, request: dict[str, Any], path: str) -> DatasetResult | None:
    """Return the result of a former conversion with the same request, None where there is none to use."""
    mark = output / _MARK
    if not mark.is_file() or not (output / CARD_NAME).is_file():
        return None
    try:
        known = json.loads(mark.read_text())
        result = DatasetResult.model_validate(known["result"])
    except (ValueError, KeyError, TypeError):
        return None  # not ours; the conversion will refuse to write over it
    if known.get("request") != request or _newest(path) > mark.stat().st_mtime:
        return None
    return result if result.config_path is None or result.config_path.exists() else None


def _remember(output: Path, request: dict[str, Any], result: DatasetResult) -> None:
    text = json.dumps({"request": request, "result": result.model_dump(mode="json")})
    (output / _MARK).write_text(text)
