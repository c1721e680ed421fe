"""Servers of one home that run on this machine, as far as the system tells (Linux)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import synapse_mcp


@dataclass(frozen=True)
class RunningServer:
    """is_orphan: no client holds its input any more. is_outdated: older than the files of the package."""

    pid: int
    is_orphan: bool
    is_outdated: bool


def servers_of_home(home: Path, proc: Path = Path("/proc")) -> list[RunningServer]:
    """Return the servers of this user that run on a home, but for this process."""
    return list(_found(home, proc))


def _found(home: Path, proc: Path) -> Iterator[RunningServer]:
    installed = Path(synapse_mcp.__file__).stat().st_mtime
    try:
        folders = [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return
    for folder in folders:
        if int(folder.name) == os.getpid():
            continue
        try:
            status = folder.stat()
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if status.st_uid != os.getuid() or not _is_server(words):
                continue
            if not _is_of(home, (folder / "environ").read_bytes()):
                continue
            # After the name, which may hold anything: state, parent.
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
            is_gone = str((folder / "exe").readlink()).endswith(" (deleted)")
        except (OSError, ValueError):
            continue  # it ended meanwhile, or is not for us to look at
        # Of another environment we do not know what is installed there.
        is_old = words[0] == sys.executable and status.st_mtime < installed
        yield RunningServer(int(folder.name), parent == 1, is_gone or is_old)


def _is_of(home: Path, environment: bytes) -> bool:
    """Return True where a process with this environment uses a home."""
    named = [each for each in environment.split(b"\0") if each.startswith(b"SYNAPSE_HOME=")]
    if not named:
        return "SYNAPSE_HOME" not in os.environ
    return Path(os.fsdecode(named[0].partition(b"=")[2])).expanduser().resolve() == home


def _is_server(words: list[str]) -> bool:
    """Return True for a command line of the server, not of one of the commands for people."""
    if words[1:3] == ["-m", "synapse_mcp"]:
        rest = words[3:]
    elif len(words) > 1 and Path(words[1]).name == "synapse-mcp":
        rest = words[2:]
    else:
        return False
    first = next((word for word in rest if word), "serve")
    return first == "serve" or first.startswith("-")
