"""What every executor of recorded runs can do."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from synapse_core.run_folder import Claim, RunFolder, RunRequest

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
        """Begin the run and return; `notify` is told what it waits for.

        Raises SynapseError where it cannot begin.
        """

    def stop(self, folder: RunFolder, claim: Claim | None, force: bool) -> None:
        """End the run, rollbacks first unless `force`, and return when all of it is gone."""

    def poll(self, folder: RunFolder, claim: Claim) -> Liveness:
        """Tell whether the run is still being executed; may write exit.json where the engine knows more."""

    def close(self) -> None:
        """Let go of what this process holds. Runs go on."""
