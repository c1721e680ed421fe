"""PipelineContext: the folders that the actions of a pipeline share."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synapse_core.context import RuntimeContext
from synapse_core.errors import InvalidRequest


@dataclass
class PipelineContext:
    """A working directory with a place for each kind of file; a folder is made when it is first asked for.

    In a recorded pipeline the directory is the run's own, which `of` finds; otherwise it lies in base_path,
    below the pipeline's and the run's id.
    """

    pipeline_id: str = "pipeline"
    run_id: str = field(default_factory=lambda: secrets.token_hex(6))
    base_path: Path = field(default_factory=lambda: Path(tempfile.gettempdir(), "synapse_pipelines"))
    metadata: dict[str, Any] = field(default_factory=dict)
    directory: Path | None = None

    @classmethod
    def of(cls, ctx: RuntimeContext) -> PipelineContext:
        """Return the shared folders of the pipeline in which an action runs.

        Raises InvalidRequest where it runs by itself.
        """
        directory = ctx.pipeline_dir
        if directory is None:
            raise InvalidRequest("This action does not run in a pipeline; it shares no folder with others.")
        return cls(run_id=directory.parent.name, directory=directory)

    @property
    def work_dir(self) -> Path:
        return _made(self.directory or Path(self.base_path) / self.pipeline_id / self.run_id)

    @property
    def datasets_dir(self) -> Path:
        return _made(self.work_dir / "datasets")

    @property
    def models_dir(self) -> Path:
        return _made(self.work_dir / "models")

    @property
    def artifacts_dir(self) -> Path:
        return _made(self.work_dir / "artifacts")

    @property
    def logs_dir(self) -> Path:
        return _made(self.work_dir / "logs")

    @property
    def checkpoints_dir(self) -> Path:
        return _made(self.work_dir / "checkpoints")

    def get_action_dir(self, name: str) -> Path:
        """Return a folder for one action's own files. Raises InvalidRequest for a name that is a path."""
        if Path(name).name != name:
            raise InvalidRequest(f"{name!r} is not the name of an action.")
        return _made(self.work_dir / "actions" / name)

    def cleanup(self) -> None:
        """Delete the working directory and all that is in it."""
        shutil.rmtree(self.work_dir)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
