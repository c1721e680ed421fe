"""The processes of a home's Ray head: which ones they are, and their end.

`ray stop` would end every Ray of the machine. A head is known here by a variable that all its processes
inherit, by the processes that were recorded when it was started, and by the sessions of both: parts of the
dashboard overwrite their environment with their title.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from synapse_core.errors import RayUnavailable
from synapse_core.processes import ProcessId

# The variable that every process of a head inherits; its value is the home.
MARK = "SYNAPSE_RAY_HEAD"

# Long enough for workers and the dashboard; raylet and GCS would wait for each other for 10 s.
_GRACE_SECONDS = 1.0
_LIMIT_SECONDS = 10.0
_IS_LINUX = sys.platform == "linux"


def find_processes(home: Path, recorded: Sequence[ProcessId] = ()) -> list[ProcessId]:
    """Return the live processes of this home's head, whoever is left; never one of our own session."""
    known = {process.pid: process for process in recorded if process.is_alive}
    pids = _all_pids()
    proven = [pid for pid in pids if pid in known or _bears_mark(pid, home)]
    sessions = {_session(pid) for pid in proven} - {_session(0), None}
    return [
        process
        for pid in pids
        if _session(pid) in sessions and (process := known.get(pid) or ProcessId.of(pid)) is not None
    ]


def end_processes(home: Path, recorded: Sequence[ProcessId] = ()) -> bool:
    """End the processes of this home's head and wait until they are gone. Returns False where none ran.

    Raises RayUnavailable where some do not go.
    """
    found = find_processes(home, recorded)
    was_running = bool(found)
    for process in found:
        process.send(signal.SIGTERM)
    began = time.monotonic()
    while found and (passed := time.monotonic() - began) < _LIMIT_SECONDS:
        if passed > _GRACE_SECONDS:
            for process in found:
                process.send(signal.SIGKILL)
        time.sleep(0.05)
        # Again from the start: a head that is ending can still have started something.
        found = find_processes(home, recorded)
    if found:
        raise RayUnavailable(
            f"The local Ray cluster was to be ended; processes {[one.pid for one in found]} do not go.",
            hint="Kill these processes, or wait for the disk they may be waiting for, then try again.",
        )
    return was_running


def program(pid: int) -> str | None:
    """Return the name of the program that a process runs, None where it is gone."""
    if _IS_LINUX:
        with suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text().strip()
        return None
    shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return Path(shown.stdout.strip()).name or None


def _all_pids() -> list[int]:
    if _IS_LINUX:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # twice as fast
    shown = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=False)
    return [int(line) for line in shown.stdout.split()]


def _bears_mark(pid: int, home: Path) -> bool:
    """Tell whether a process inherited the mark of this home. Only Linux shows environments."""
    with suppress(OSError):
        return os.fsencode(f"{MARK}={home}") in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _session(pid: int) -> int | None:
    """Return the session of a process, None where it is gone. 0 is this process."""
    with suppress(ProcessLookupError, PermissionError):
        return os.getsid(pid)
    return None
