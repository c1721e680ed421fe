"""What every executor of recorded runs can do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

from synapse_core.errors import SynapseError
from synapse_core.run_folder import Claim, Exit, RunFolder, RunRequest

Notify = Callable[[str], None]


class Liveness(Enum):
    """What an engine knows of a run that it was given."""

    WAITING = "waiting"
    ALIVE = "alive"
    GONE = "gone"


class Executor(Protocol):
    """Starts runs somewhere, stops them, and tells whether they are still there.

    It neither reads results nor decides states: the worker writes those into the run folder.
    """

    def check(self, request: RunRequest) -> None:
        """Raise InvalidRequest or Unavailable where the request can never be carried out; starts nothing."""

    def start(self, folder: RunFolder, request: RunRequest, notify: Notify) -> None:
        """Begin the run and return; `notify` is told what it waits for. A second call changes nothing.

        Raises SynapseError where it cannot begin.
        """

    def stop(self, folder: RunFolder, claim: Claim | None, force: bool) -> None:
        """End the run, rollbacks first unless `force`, and return when all of it is gone.

        Without a claim nobody has begun it, and nobody will: only what an engine holds of it has to go.
        """

    def poll(self, folder: RunFolder, claim: Claim | None) -> Liveness:
        """Tell whether the run is still being executed; may write exit.json where the engine knows more.

        Without a claim: WAITING where an engine was given the run and begins it by itself, otherwise GONE.
        """

    def close(self) -> None:
        """Let go of what this process holds. Runs go on."""


def give_up(folder: RunFolder, error: SynapseError) -> None:
    """End a run that could not be begun, unless somebody has begun it by now."""
    if folder.claim(Claim("nobody")):
        folder.write_exit(Exit(datetime.now(UTC), cause=error.code, message=error.message, hint=error.hint))


def stop_run(executor: Executor, folder: RunFolder, force: bool) -> None:
    """Stop a run that has not ended, rollbacks first unless `force`, and return when all of it is gone."""
    folder.request_stop(force)
    claim = folder.claimed()
    if claim is None and folder.claim(Claim("nobody")):
        folder.write_exit(Exit(datetime.now(UTC), cause="stopped"))
    else:
        claim = folder.claimed()
    executor.stop(folder, claim, force)
