"""How Ray tells that a worker died, in words for whoever ran something on it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from synapse_core.run_folder import Exit

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# The part of Ray's explanation that is about this worker; the rest lists what it might have been.
_DETAIL = re.compile(r"[Ww]orker exit detail: ?(.*?\.)(?: |$)")


def plain(text: object) -> str:
    """Return what Ray says without colours, at most 1,500 characters."""
    return _ANSI.sub("", str(text)).strip()[:1500]


def exit_of(error: BaseException) -> Exit:
    """Return how a worker ended whose call Ray answered with an error."""
    return exit_told(plain(error), type(error).__name__ == "OutOfMemoryError")


def exit_told(words: str, is_out_of_memory: bool) -> Exit:
    """Return an ending in Ray's own words; it does not tell signals or exit codes."""
    if is_out_of_memory:
        return Exit(
            datetime.now(UTC),
            cause="out_of_memory",
            message="Ray killed the worker because the node ran out of memory.",
            hint="Work on smaller batches, or give the run more memory (resources.memory).",
        )
    detail = _DETAIL.search(words)
    return Exit(
        datetime.now(UTC),
        cause="worker_died",
        message="The worker process died before the action returned: os._exit, a crash in native code, or a "
        f"kill from outside. Ray says: {detail.group(1) if detail else words[:300]}",
        hint="Call get_run_logs to see its last words; a crash leaves the Python stack there.",
    )
