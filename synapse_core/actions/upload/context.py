"""What the steps of an upload share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from synapse_core.actions.upload.crew import Crew
from synapse_core.actions.upload.ledger import Ledger
from synapse_core.actions.upload.metadata import Metadata
from synapse_core.actions.upload.params import UploadParams
from synapse_core.actions.upload.report import Outcome
from synapse_core.actions.upload.sources import SourceFile
from synapse_core.backend import Backend, DataCollection, FileReference, FileSpecification, Project
from synapse_core.errors import Unavailable
from synapse_core.steps import BaseStepContext
from synapse_core.storage import Storage


@dataclass
class FileGroup:
    """Files that become one data unit.

    label: their path below the folder that was given, without an ending. files: specification -> file.
    """

    label: str
    files: dict[str, SourceFile]
    meta: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


@dataclass
class UnitDraft:
    """A data unit to be made. id: None until it was."""

    key: str
    group: FileGroup
    meta: dict[str, Any]
    id: int | None = None


@dataclass
class UploadContext(BaseStepContext):
    """The state of one upload.

    params: the action's; what it has no field for is read as UploadParams has it by default. found_files:
    specification -> files, '' for those whose specification is not told by their place. duplicates:
    groups that were left out because their content is there. data_units: drafts until upload_files has made
    them. is_drafted: they were drafted, be it none. data_collection: None until
    upload_files where it is to be made.
    """

    params: Any = None
    backend: Any = None
    allowed_extensions: dict[str, list[str]] | None = None
    storage: Storage | None = None
    data_collection: DataCollection | None = None
    project: Project | None = None
    pathlib_cwd: Path | None = None
    specifications: tuple[FileSpecification, ...] = ()
    found_files: dict[str, list[SourceFile]] = field(default_factory=dict)
    total_files: int = 0
    organized_files: dict[str, FileGroup] = field(default_factory=dict)
    duplicates: list[FileGroup] = field(default_factory=list)
    data_units: list[UnitDraft] = field(default_factory=list)
    uploaded_files: list[FileReference] = field(default_factory=list)
    excel_metadata: Metadata | None = None
    unmatched_metadata: list[str] = field(default_factory=list)
    import_log_id: str = ""
    upload_id: str = ""
    is_drafted: bool = False
    has_made_collection: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    ledger: Ledger = field(default_factory=Ledger)

    @cached_property
    def settings(self) -> UploadParams:
        """The parameters of the upload, also where the action has others besides or instead."""
        if isinstance(self.params, UploadParams):
            return self.params
        given = self.params if isinstance(self.params, dict) else vars(self.params or {})
        return UploadParams.model_validate(
            {name: given[name] for name in UploadParams.model_fields if name in given}
        )

    @cached_property
    def crew(self) -> Crew:
        """The threads of the upload."""
        return Crew(self.runtime_ctx.stop)

    @property
    def client(self) -> Backend:
        """The backend. Raises Unavailable where the run has none."""
        if self.backend is None:
            raise Unavailable("An upload needs a backend, and this run has none.")
        return cast(Backend, self.backend)

    @property
    def lost_files(self) -> list[str]:
        """The first files that were fit for it and did not reach the storage."""
        return self.outcome.lost

    def primary_of(self, group: FileGroup) -> SourceFile:
        """Return the file that a group is named after."""
        if len(group.files) == 1:
            return next(iter(group.files.values()))
        for specification in self.specifications:
            if specification.is_primary and specification.name in group.files:
                return group.files[specification.name]
        return next(iter(group.files.values()))
