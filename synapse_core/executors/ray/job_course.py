"""How a run goes on, for a script that waits for it."""

from __future__ import annotations

import time
from typing import Any

from synapse_core.errors import RunFailed
from synapse_core.events import Failed, Stopped, Succeeded
from synapse_core.executors.base import Executor, Liveness
from synapse_core.run_ending import ending
from synapse_core.run_folder import RunFolder

_ASK_SECONDS = 0.5


class Course:
    """One run on its way. Its folder is looked at each time; its engine is asked twice a second at most."""

    def __init__(self, executor: Executor, folder: RunFolder) -> None:
        self.folder = folder
        self._executor = executor
        self._ended: Succeeded | Failed | Stopped | None = None
        self._is_gone = False
        self._ask_at = time.monotonic()

    def has_ended(self) -> bool:
        """Return True once the run has ended, or is gone without a word."""
        if self._ended is None:
            self._ended = ending(self.folder)
        if self._ended is None and not self._is_gone and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + _ASK_SECONDS
            if self._executor.poll(self.folder, self.folder.claimed()) is Liveness.GONE:
                self._is_gone = True
                self._ended = ending(self.folder)  # it may have come while it was asked for
        return self._ended is not None or self._is_gone

    @property
    def word(self) -> str:
        """How the ended run is called in Ray's words; UNKNOWN where nobody can know."""
        if self._ended is None:
            return "UNKNOWN"
        if isinstance(self._ended, Succeeded):
            return "SUCCEEDED"
        return "FAILED" if isinstance(self._ended, Failed) else "STOPPED"

    def result(self) -> Any:
        """Return what the ended run's action returned. Raises RunFailed where it did not succeed."""
        ended = self._ended
        if isinstance(ended, Succeeded):
            return ended.result
        state = "lost" if ended is None else self.word.lower()
        raise RunFailed(
            self.folder.run_id,
            state,
            f"Run {self.folder.run_id} {state}: {ended.message if ended else 'nobody knows how it ended'}",
            code=ended.code if isinstance(ended, Failed) else state,
            hint=ended.hint if isinstance(ended, Failed) else None,
        )
