"""Operating-system processes told apart for certain: a pid together with the time the process started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

_IS_LINUX = sys.platform == "linux"


class ProcessId(msgspec.Struct, frozen=True):
    """One process of one machine. `started` is opaque: it only serves to tell a reused pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of a live process, None where there is none (a zombie counts as none)."""
        started = _start_mark(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def current(cls) -> ProcessId:
        """Return the identity of this process."""
        identity = cls.of(os.getpid())
        assert identity is not None, "this process runs"
        return identity

    @property
    def is_alive(self) -> bool:
        """True while this very process runs."""
        return _start_mark(self.pid) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this very process. Returns False where it is gone."""
        if not self.is_alive:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def descendants(pid: int) -> list[ProcessId]:
    """Return the live processes below `pid`, children before grandchildren, without itself."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, []).append(child)
    found: list[ProcessId] = []
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(0), ()):
            queue.append(child)
            if identity := ProcessId.of(child):
                found.append(identity)
    return found


def kill_group(group: int) -> None:
    """Kill every process of a process group; nothing happens where there is none."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def kill_descendants(pid: int) -> int:
    """Kill all processes below `pid`. Returns how many there were."""
    if pid == os.getpid() and not _has_children():
        return 0  # known at once; looking at every process of the machine takes 4 ms
    below = descendants(pid)
    for process in below:
        process.send(signal.SIGKILL)
    return len(below)


def out_of_memory_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since it started; 0 if unknown."""
    try:
        counters = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in counters if line.startswith("oom_kill ")), 0)


def adopt_orphans() -> None:
    """Make orphaned descendants this process's children (Linux), so that none of them can get away."""
    if not _IS_LINUX:
        return
    import ctypes  # 3 ms, and only a supervisor needs it

    PR_SET_CHILD_SUBREAPER = 36  # noqa: N806  # the kernel's own name
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _has_children() -> bool:
    """Tell whether this process may have a child, running or not yet waited for."""
    if not _IS_LINUX:
        return True  # who knows
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _start_mark(pid: int) -> str | None:
    """Return text that differs for every process that ever bore this pid, None where none is alive."""
    if not _IS_LINUX:
        return _ps_start(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_ticks = fields[0], fields[19]
    # Ticks since boot, not a time of day: changing the clock must not make a live process look like another.
    return None if state in "ZX" else f"{_boot_id()}:{start_ticks}"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


def _ps_start(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(None, 1)
    return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()


def _parents() -> dict[int, int]:
    """Return the parent of every process that can be seen."""
    if not _IS_LINUX:
        shown = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False)
        return {int(line.split()[0]): int(line.split()[1]) for line in shown.stdout.splitlines()}
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  # twice as fast, and called to kill
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat") as file:
                parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
    return parents
