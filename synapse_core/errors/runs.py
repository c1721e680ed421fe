"""Errors about runs and what executes and records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from synapse_core.errors.base import NotFound, SynapseError, Unavailable, did_you_mean, nearest


class RunNotFound(NotFound):
    """No run of this id is recorded here."""

    code = "unknown_run"

    def __init__(self, run_id: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no run {run_id!r}.{did_you_mean(run_id, known)}",
            {"asked": run_id, "nearest": nearest(run_id, known) or list(known[:3])},
            hint="Call list_runs to see the recorded runs, newest first.",
        )


class RunFailed(SynapseError):
    """A run ended in another state than succeeded; `code` is the code of its failure.

    run_id, state: which run, and how it ended.
    """

    code = "run_failed"

    def __init__(
        self, run_id: str, state: str, message: str, *, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, {"run_id": run_id, "state": state}, hint=hint)
        self.run_id = run_id
        self.state = state
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance tells the run's code, the class the default


class RunStopped(BaseException):
    """Raised inside an action when its run was asked to stop, so that rollbacks run and the run ends.

    A BaseException, because actions may hold `except Exception` around their work.
    """

    code: ClassVar[str] = "stopped"


class RayUnavailable(Unavailable):
    """Ray could not be started or reached."""

    code = "ray_unavailable"


class DiskFull(Unavailable):
    """The disk of the home has no room for another record."""

    code = "disk_full"

    def __init__(self, home: str, reason: object) -> None:
        super().__init__(
            f"Nothing more can be recorded in {home}: {reason}",
            hint="Free disk space there (old folders below runs/ can be large), then call again.",
        )
