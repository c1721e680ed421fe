"""The parameters of an upload. Ids are looked up while they are checked, where there is a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from synapse_core.errors import RecordNotFound

_LOOKED_UP = ("storage", "data_collection", "project")


class AssetConfig(BaseModel):
    """Where the files of one file specification are."""

    path: str = Field(min_length=1, description="A local file or folder")
    is_recursive: bool = Field(default=True, description="Take the files of sub-folders too")


class UploadParams(BaseModel):
    """What is uploaded, and where to.

    Only a path is needed. Left out: name is the folder's; data_collection is the one called `name`, which is
    made where there is none; storage is the collection's, and the backend's default one for a new collection.
    extra_params: its keys go before those of the parameters that have the same name.
    """

    name: str = Field(default="", description="What this upload is called; the folder's name if left out")
    description: str | None = Field(default=None, description="Of a collection that is made")
    use_single_path: bool = Field(default=True, description="One path for all files; false: see assets")
    path: str | None = Field(default=None, description="A local folder; a sub-folder for each specification")
    is_recursive: bool = Field(default=True, description="Take the files of sub-folders too")
    assets: dict[str, AssetConfig] = Field(
        default_factory=dict, description="File specification -> where its files are"
    )
    storage: int | None = Field(default=None, description="Id of the storage to upload to")
    data_collection: int | None = Field(default=None, description="Id of the collection of the data units")
    project: int | None = Field(default=None, description="Id of a project of the collection")
    excel_metadata_path: str | None = Field(
        default=None, description="XLSX or CSV file with metadata; meta.xlsx or meta.csv of path if left out"
    )
    max_file_size_mb: float = Field(default=50, gt=0, description="Larger files are refused, in MiB")
    creating_data_unit_batch_size: int = Field(
        default=200, ge=1, le=1000, description="Data units made in one call"
    )
    creating_data_unit_max_workers: int = Field(default=1, ge=1, le=16, description="Such calls at once")
    upload_max_workers: int = Field(default=10, ge=1, le=64, description="Files sent at once")
    upload_max_retries: int = Field(default=2, ge=0, le=10, description="For each file")
    upload_batch_size: int = Field(default=200, ge=1, description="Has no effect: files are sent one by one")
    upload_ray_workers: int = Field(default=1, ge=1, description="Has no effect: threads of one process")
    use_async_upload: bool = Field(default=True, description="Has no effect: uploads are always parallel")
    skip_existing_checksums: bool = Field(
        default=False, description="Skip groups whose files the collection has already"
    )
    skip_local_duplicates: bool = Field(default=True, description="Skip groups that are there twice here")
    checksum_batch_size: int = Field(default=1000, ge=1, description="Checksums in one question")
    group_name: str | None = Field(default=None, description="Group that the data units belong to")
    extra_params: dict[str, Any] | None = Field(default=None, description="Further and custom parameters")

    @model_validator(mode="before")
    @classmethod
    def _prefer_extra_params(cls, given: Any) -> Any:
        extra = given.get("extra_params") if isinstance(given, Mapping) else None
        if not isinstance(extra, Mapping):
            return given
        own = {
            key: value for key, value in extra.items() if key in cls.model_fields and key != "extra_params"
        }
        return {**given, **own}

    @model_validator(mode="after")
    def _complete(self) -> UploadParams:
        if self.use_single_path and not self.path:
            if not self.assets:
                raise PydanticCustomError("missing_path", "path is missing: the folder to upload")
            self.use_single_path = False
        if not self.use_single_path and not self.assets:
            raise PydanticCustomError(
                "missing_assets", "assets is missing: a path for each file specification"
            )
        self.name = (
            self.name.strip() or Path(self.path or next(iter(self.assets.values())).path).absolute().name
        )
        if not self.name:
            raise PydanticCustomError("missing_name", "name is missing, and the path has none either")
        return self

    @field_validator(*_LOOKED_UP)
    @classmethod
    def _is_there(cls, value: int | None, info: ValidationInfo) -> int | None:
        client = (info.context or {}).get("client")
        if value is None or client is None:
            return value
        get: Callable[[int], Any] = getattr(client, f"get_{info.field_name}")
        try:
            get(value)
        except RecordNotFound as error:
            raise PydanticCustomError(
                f"{info.field_name}_not_found",
                "{reason}",
                {"reason": error.message},
            ) from error
        return value
