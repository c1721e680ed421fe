"""DatasetAction: a dataset is fetched from the backend, or converted from one format to another."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pydantic
from pydantic import BaseModel, Field

from synapse_core.base_action import BaseAction
from synapse_core.datasets.card import CARD_NAME
from synapse_core.datasets.conversion import convert
from synapse_core.datasets.formats import find_format
from synapse_core.datasets.options import make_options
from synapse_core.datasets.source import open_source, walk
from synapse_core.enums import PluginCategory
from synapse_core.errors import ExecutionError, InvalidRequest, Unavailable
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
    of ConvertOptions, `task` or `splits` for example. is_categorized: the dataset has splits.
    """

    operation: DatasetOperation = DatasetOperation.DOWNLOAD
    dataset: int | None = Field(
        default=None, description="Id of the ground truth dataset version to download"
    )
    splits: dict[str, Any] | None = Field(default=None, description="Split name -> filters of what it gets")
    path: str | None = Field(default=None, description="The dataset to convert: a folder, a file or a URL")
    source_format: str = Field(default="dm_v2", description="Its format; 'auto' has it detected")
    target_format: str = Field(default="yolo", description="The format to convert to")
    dm_version: str = Field(default="v2", pattern="^v[12]$", description="What 'dm' stands for")
    output_dir: str | None = Field(default=None, description="Where to write; <path>_<format> if left out")
    is_categorized: bool = Field(default=False, description="The dataset has train, valid and test")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the conversion")


class DatasetResult(BaseModel):
    """Where the dataset is. count: its items. losses: why annotations changed, code -> how often."""

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


P = TypeVar("P", bound=DatasetParams)


class DatasetAction(BaseAction[P]):
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
        """Fetch a dataset from the backend. Raises Unavailable where none is configured."""
        if self.params.dataset is None:
            raise InvalidRequest("dataset is missing: the id of what to download.")
        if self.ctx.client is None:
            raise Unavailable(
                f"Dataset {self.params.dataset} cannot be downloaded: no backend is configured.",
                hint="Convert a dataset that is on disk: operation='convert' with path.",
            )
        raise ExecutionError(
            f"Dataset {self.params.dataset} cannot be downloaded: this version of Synapse knows no calls of "
            f"a {type(self.ctx.client).__name__}.",
            hint="Fetch the files by other means, and use operation='convert' with path.",
        )

    def convert(self) -> DatasetResult:
        """Convert the dataset at `path`, unless that was done already with the same choices.

        Raises what `convert` of synapse_core.datasets does; InvalidRequest where path is missing.
        """
        params = self.params
        if params.path is None:
            raise InvalidRequest("path is missing: the dataset to convert.")
        source_format = _named(params.source_format, params.dm_version)
        target = find_format(_named(params.target_format, params.dm_version), verb="write").name
        output = Path(params.output_dir or f"{params.path.rstrip('/')}_{target}").expanduser().absolute()
        request = _request(params, source_format, target)
        result = _made_before(output, request, params.path)
        if result is None:
            result = self._convert(source_format, target, output)
            _remember(output, request, result)
        else:
            self.log_message(f"{output} was converted before; it is used as it is.")
            self.set_progress(1, 1, self.progress.DATASET_CONVERSION)
        return result

    def _convert(self, source_format: str, target: str, output: Path) -> DatasetResult:
        params = self.params
        assert params.path is not None
        done = convert(
            params.path,
            target,
            output,
            source_format=source_format,
            on_progress=self._tell,
            **params.options,
        )
        reasons = done.losses.reasons
        if reasons:
            told = ", ".join(f"{code} ({number})" for code, number in reasons.items())
            self.log_message(f"Not everything could be kept: {told}. See {done.losses_path}.", "warning")
        config = None if done.config_path in (None, done.output) else Path(str(done.config_path))
        return DatasetResult(
            path=output,
            format=target,
            is_categorized=params.is_categorized,
            config_path=config,
            count=done.losses.items,
            source_path=Path(params.path),
            losses=reasons,
        )

    def _tell(self, done: int, total: int) -> None:
        self.ctx.raise_if_stopped()
        self.set_progress(done, max(total, 1), self.progress.DATASET_CONVERSION)


# Beside what the conversion itself writes: what was asked for, and what came of it.
_MARK = ".complete"


def _named(name: str, version: str) -> str:
    return f"dm_{version}" if name == "dm" else name


def _request(params: DatasetParams, source_format: str, target: str) -> dict[str, Any]:
    """Return what the same output follows from."""
    options = make_options(**params.options)
    assert params.path is not None
    chosen = {name: value for name, value in vars(options).items() if name != "workers"}
    return {
        "path": str(Path(params.path).absolute()) if "://" not in params.path else params.path,
        "source_format": source_format,
        "target_format": target,
        "options": json.loads(json.dumps(chosen)),
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
