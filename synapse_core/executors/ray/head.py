"""The Ray head of a home: a daemon on loopback that its processes share, its record, its start and its end.

What a head leaves below `<home>/ray`:

    cluster.json   where it listens and which processes it is (HeadRecord)
    token          what it asks of everyone who connects; made once, kept over restarts
    lock           held by whoever starts or stops it
    head.log       what `ray start` printed
    wanted         touched while runs wait for a worker
    t/             Ray's own files, unless that path is too long for sockets (see `temp_folder`)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.decoding import decoded
from synapse_core.environment import passed_environment
from synapse_core.errors import RayUnavailable
from synapse_core.executors.base import Notify
from synapse_core.executors.ray import gcs
from synapse_core.executors.ray.head_processes import MARK, end_processes, find_processes, program
from synapse_core.processes import ProcessId

# What a worker may keep in shared memory at once; more is spilled to disk.
_OBJECT_STORE_BYTES = 200_000_000
# 5 to 9 s on an idle machine of two cores; Ray itself waits 30 s for each of its parts.
_START_SECONDS = 120.0
_LOCK_SECONDS = _START_SECONDS + 30.0
# How long a job may wait for its turn: a year.
_JOB_START_SECONDS = 365 * 24 * 3600
# What "/session_2026-01-31_23-59-59_999999_4194304/sockets/dash_TaskEventsHead" leaves of an AF_UNIX path.
_TEMP_PATH_BYTES = (107 if sys.platform == "linux" else 103) - 71
# How the private folder is named that holds Ray's files where they do not fit into the home.
_OUTSIDE = "synapse-ray-"
# When Ray's nodes kill workers for lack of memory; whoever starts the head may set it.
_MEMORY_LIMITS = ("RAY_memory_usage_threshold", "RAY_memory_monitor_refresh_ms")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class HeadRecord(msgspec.Struct, frozen=True):
    """A head that was started. gcs, raylet: without either of them it is dead."""

    address: str
    dashboard_url: str | None
    ray_version: str
    temp_dir: str
    token_path: str
    gcs: ProcessId
    raylet: ProcessId
    processes: tuple[ProcessId, ...]

    @property
    def is_alive(self) -> bool:
        return self.gcs.is_alive and self.raylet.is_alive


class LocalHead:
    """The one head of a home, whichever process started it."""

    def __init__(self, home: Path, num_cpus: int) -> None:
        # One home, one head: the same folder by another name (a link, a relative path) is the same home.
        self._home = home.resolve()
        self.folder = self._home / "ray"
        self._num_cpus = num_cpus
        self.token_path = self.folder / "token"

    def record(self) -> HeadRecord | None:
        """Return the head that was started last and not stopped, dead or alive."""
        try:
            return decoded((self.folder / "cluster.json").read_bytes(), HeadRecord)
        except (FileNotFoundError, msgspec.DecodeError):
            # A record of another version is as good as none: the processes still bear the mark.
            return None

    def token(self) -> str | None:
        try:
            return self.token_path.read_text().strip()
        except FileNotFoundError:
            return None

    def ensure(self, notify: Notify) -> HeadRecord:
        """Return the running head; start it where none runs.

        Raises RayUnavailable where it does not start.
        """
        running = self.record()
        if running is not None and running.is_alive:
            return running
        with self._locked(notify):
            running = self.record()
            if running is not None and running.is_alive:
                return running
            return self._start(notify)

    def stop(self) -> bool:
        """End every process of the head and remove what it left. Returns False where none ran."""
        if not self.folder.is_dir():
            return False
        with self._locked(lambda _: None):
            record = self.record()
            was_running = self._end()
            # The record first: whoever started the head may have had another TMPDIR.
            self._remove(Path(record.temp_dir) if record else temp_folder(self._home))
        return was_running

    def _remove(self, temp: Path) -> None:
        """Delete a temp folder; the path comes from a file, so only where it can be one of ours."""
        if temp.parent == self.folder:
            shutil.rmtree(temp, ignore_errors=True)
        elif temp.parent.name.startswith(_OUTSIDE):
            shutil.rmtree(temp.parent, ignore_errors=True)

    def _start(self, notify: Notify) -> HeadRecord:
        notify("Starting a local Ray cluster; about 10 s, once.")
        began = time.monotonic()
        died = self.record()
        self._end()
        port = _port_again(died)
        temp = temp_folder(self._home)
        _own_privately(temp.parent)
        temp.mkdir(exist_ok=True)
        _empty(temp)
        self._make_token()
        try:
            record = self._launch(temp, port, notify)
        except RayUnavailable:
            if port == 0:
                raise
            record = self._launch(temp, 0, notify)  # somebody took the port meanwhile
        notify(f"The local Ray cluster runs ({self._num_cpus} CPUs, {time.monotonic() - began:.1f} s).")
        return record

    def _launch(self, temp: Path, port: int, notify: Notify) -> HeadRecord:
        log = self.folder / "head.log"
        with open(log, "wb") as output:
            starting = subprocess.Popen(
                _command(temp, port, self._num_cpus),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self._environment(temp),
                start_new_session=True,
            )
        try:
            self._await(starting, log, notify)
            record = self._describe(temp)
            self._write(record)
        except BaseException:
            # Also KeyboardInterrupt: what was begun must not be left behind without a record.
            self._end()
            starting.wait()
            raise
        return record

    def _await(self, starting: subprocess.Popen[bytes], log: Path, notify: Notify) -> None:
        """Wait until `ray start` has returned, which is when every part of the head runs."""
        began = time.monotonic()
        next_word = 5.0
        while (code := starting.poll()) is None and (passed := time.monotonic() - began) < _START_SECONDS:
            if passed > next_word:
                notify(f"Ray is still starting ({passed:.0f} s).")
                next_word += 5.0
            time.sleep(0.05)
        if code == 0:
            return
        told = f"ended with code {code}" if code is not None else f"was not done after {_START_SECONDS:.0f} s"
        raise RayUnavailable(
            f"A local Ray cluster was to be started; `ray start` {told}. Its log ends: {_tail(log)}",
            {"log": str(log)},
            hint=f"Read {log}, remove the cause, then try again; mode 'local' runs without Ray.",
        )

    def _describe(self, temp: Path) -> HeadRecord:
        """Return the record of the head that has just been started."""
        address = (temp / "ray_current_cluster").read_text().strip()
        answer = gcs.ask(address, (self.token(),), 10.0)
        processes = find_processes(self._home)
        return HeadRecord(
            address=address,
            dashboard_url=f"http://{answer.dashboard}" if answer.dashboard else None,
            ray_version=answer.ray_version,
            temp_dir=str(temp),
            token_path=str(self.token_path),
            gcs=_named(processes, "gcs_server"),
            raylet=_named(processes, "raylet"),
            processes=tuple(processes),
        )

    def _write(self, record: HeadRecord) -> None:
        temporary = self.folder / f".cluster.json.{secrets.token_hex(4)}"
        temporary.write_bytes(msgspec.json.encode(record))
        temporary.replace(self.folder / "cluster.json")

    def _make_token(self) -> None:
        """Make the token where there is none. It stays the same, so that whoever holds it can come back."""
        with suppress(FileExistsError):
            number = os.open(self.token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(number, "w") as file:
                file.write(secrets.token_hex(32))
        self.token_path.chmod(0o600)

    def _environment(self, temp: Path) -> dict[str, str]:
        """Return what the head and all workers inherit.

        Nothing that is meant for drivers (a raylet would never give up), no RAY_ADDRESS, no secrets: a run
        gets its own variables with its request.
        """
        passed = {
            name: value
            for name, value in passed_environment().items()
            if not name.startswith("SYNAPSE_") and not name.lower().endswith("_proxy")
        }
        return {
            **passed,
            **{name: os.environ[name] for name in _MEMORY_LIMITS if name in os.environ},
            MARK: str(self._home),
            "SYNAPSE_HOME": str(self._home),
            # The dashboard's parts leave folders behind when they are killed.
            "TMPDIR": str(temp),
            # On Linux too: without it Ray listens on every interface, whatever addresses it is given.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            # One process, one port and 0.7 s less: nobody comes by ray://.
            "RAY_START_HOOK": f"{__name__}.{without_client_server.__name__}",
            # The raylet asks its own object store 10 ms too early and then sleeps this long: 1 s by default.
            "RAY_raylet_client_connect_timeout_milliseconds": "50",
            "RAY_raylet_client_num_connect_attempts": "200",
            # A job that waits for its turn fails after 15 minutes by default.
            "RAY_JOB_START_TIMEOUT_SECONDS": str(_JOB_START_SECONDS),
            # What cannot be installed cannot be installed the third time either, a minute later.
            "RUNTIME_ENV_RETRY_TIMES": "1",
            # Both ports are fixed by default, and two homes would fight for them.
            "DASHBOARD_METRIC_PORT": "0",
            "AUTOSCALER_METRIC_PORT": "0",
        }

    def _end(self) -> bool:
        """End every process of the head, and the record. Returns whether there was one."""
        record = self.record()
        was_running = end_processes(self._home, record.processes if record else ())
        (self.folder / "cluster.json").unlink(missing_ok=True)
        return was_running

    @contextmanager
    def _locked(self, notify: Notify) -> Iterator[None]:
        """Hold the lock of this home's head; the kernel lets go of it when its holder dies."""
        _own_privately(self.folder)
        with open(self.folder / "lock", "wb") as file:
            began = time.monotonic()
            told = False
            while not _try_lock(file):
                if not told:
                    notify("Another process is starting or stopping the local Ray cluster; waiting for it.")
                    told = True
                if time.monotonic() - began > _LOCK_SECONDS:
                    raise RayUnavailable(
                        f"Another process has held {self.folder / 'lock'} for {_LOCK_SECONDS:.0f} s.",
                        hint="Find that process (`fuser` or `lsof` on the file), end it, then try again.",
                    )
                time.sleep(0.05)
            yield


def without_client_server(params: Any, is_head: bool) -> None:
    """Take the Ray Client server out of a head that is about to start; `ray start` calls this."""
    params.ray_client_server_port = None


def temp_folder(home: Path) -> Path:
    """Return where Ray keeps its files and sockets: in the home, or elsewhere where that path is too long.

    The folder above it is private, because Ray opens the folder itself to everybody.
    """
    inside = home / "ray" / "t"
    if len(os.fsencode(inside)) <= _TEMP_PATH_BYTES:
        return inside
    name = hashlib.sha256(os.fsencode(home) + b"%d" % os.getuid()).hexdigest()[:10]
    outside = Path(tempfile.gettempdir(), f"{_OUTSIDE}{name}", "t")
    return outside if len(os.fsencode(outside)) <= _TEMP_PATH_BYTES else Path("/tmp", *outside.parts[-2:])


def _command(temp: Path, port: int, num_cpus: int) -> list[str]:
    """A port of 0 is a free one that the kernel chooses as it is bound, so nothing can come in between."""
    return [
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head"),
        *(f"--port={port}", "--dashboard-port=0", "--dashboard-agent-listen-port=0"),
        *("--min-worker-port=0", "--max-worker-port=0"),
        # The Jobs API needs the dashboard.
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1"),
        *(f"--num-cpus={num_cpus}", f"--object-store-memory={_OBJECT_STORE_BYTES}"),
        *(f"--temp-dir={temp}", "--disable-usage-stats"),
    ]


def _port_again(died: HeadRecord | None) -> int:
    """Return the port of a head that died, 0 where there was none or the port is taken.

    A process that was connected to it hangs in Ray's calls until something answers at the same address: to
    let go of the dead head takes 0.05 s then, otherwise 5 s or, in the middle of a call, for ever.
    """
    if died is None:
        return 0
    port = int(died.address.rpartition(":")[2])
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return 0
    return port


def _own_privately(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises RayUnavailable where somebody else was there first: below /tmp anyone can guess the name.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise RayUnavailable(
            f"Ray's files belong in {folder}, which is a link or belongs to another user.",
            hint=f"Remove {folder}, or set TMPDIR to a short folder of your own.",
        )
    folder.chmod(0o700)


def _empty(temp: Path) -> None:
    """Delete what earlier heads left: sessions of some 3 MB each, the address of the last one, sockets."""
    for entry in temp.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            # What cannot be deleted costs disk, nothing else.
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def _try_lock(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _named(processes: list[ProcessId], name: str) -> ProcessId:
    """Return the process that runs a program of this name.

    Raises RayUnavailable where it is not there: the head died as soon as it was started.
    """
    for process in processes:
        if program(process.pid) == name:
            return process
    raise RayUnavailable(
        f"A local Ray cluster was started and its process {name!r} is already gone.",
        hint="Look for the reason (memory, disk) in the system's log, then try again.",
    )


def _tail(log: Path) -> str:
    return _ANSI.sub("", log.read_text(errors="replace")).strip()[-1500:]
