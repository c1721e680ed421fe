"""Small things that several test files need."""

from __future__ import annotations

from pathlib import Path


def pid_is_alive(pid: int) -> bool:
    """Return True while a process of this pid runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
