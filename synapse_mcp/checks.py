"""What can keep Synapse from working, looked at from outside of a run: each problem with the exact fix.

The cheap ones are part of get_status, all of them are `synapse-mcp doctor`. No check starts anything or
changes anything but a file of its own that it deletes again.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from synapse_core.errors import InvalidConfig
from synapse_core.profile import config_path, require_private, secret_files
from synapse_mcp.running_servers import servers_of_home
from synapse_mcp.settings import Settings

_OLDEST_PYTHON = (3, 11)
_LEAST_FREE_BYTES = 2 * 1024**3
_GIB = 1024**3
_REMOTE_DISKS = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "fuse.sshfs",
    "afs",
    "ceph",
    "lustre",
    "glusterfs",
)
# What comes with an extra: its name -> a module of it. Missing ones are told, and are no problem.
_EXTRAS = (
    ("s3", "s3fs"),
    ("gcs", "google.cloud.storage"),
    ("sftp", "paramiko"),
    ("excel", "openpyxl"),
    ("otel", "opentelemetry.exporter.otlp.proto.http"),
    ("ultralytics", "ultralytics"),
)
_NEEDED = ("mcp", "ray", "sqlalchemy", "pydantic", "msgspec", "httpx", "fastapi")


class Problem(msgspec.Struct, frozen=True):
    code: str
    message: str
    fix: str


@dataclass(frozen=True)
class Finding:
    """What one check found. said: one line where all is well, or beside the problems."""

    check: str
    said: str
    problems: tuple[Problem, ...] = ()


def cheap_problems(settings: Settings) -> list[Problem]:
    """Return what can be told in a millisecond or two: the home, its disk, and who can read secrets."""
    found = [*check_home(settings).problems, *check_secret_files().problems]
    return [problem for problem in found if problem.code != "remote_disk"]


def machine_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what there is to say about this machine and this user's settings, one check after the other."""
    checks: tuple[Callable[[], Finding], ...] = (
        check_python,
        check_packages,
        lambda: check_home(settings),
        lambda: check_store(settings),
        check_secret_files,
        check_clients,
        lambda: check_servers(settings),
    )
    for check in checks:
        yield check()


def check_python() -> Finding:
    said = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] >= _OLDEST_PYTHON:
        return Finding("python", said)
    wanted = ".".join(map(str, _OLDEST_PYTHON))
    fix = f"python{wanted} -m venv .venv && .venv/bin/pip install synapse-mcp"
    return Finding("python", said, (Problem("old_python", f"Python {wanted} or newer is needed.", fix),))


def check_packages() -> Finding:
    problems = []
    for name in _NEEDED:
        try:
            version(name)
        except PackageNotFoundError:
            fix = f"{shlex.quote(sys.executable)} -m pip install --upgrade synapse-mcp"
            problems.append(Problem("missing_package", f"The package {name} is not installed.", fix))
    missing = [extra for extra, module in _EXTRAS if not _is_there(module)]
    said = "all that is needed is installed"
    if missing:
        said += f"; not installed, and only needed for what bears their name: {', '.join(missing)}"
    return Finding("packages", said, tuple(problems))


def check_home(settings: Settings) -> Finding:
    """Look at the folder of the runs: whether it can be written, on what disk it is, and what is free."""
    home = settings.home
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    quoted = shlex.quote(str(home))
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, "Not a directory")
        with tempfile.NamedTemporaryFile(dir=place, prefix=".synapse-check-") as file:
            file.write(b"x")
    except OSError as error:
        fix = f"mkdir -p {quoted} && chmod u+rwx {quoted}, or set SYNAPSE_HOME to a folder of yours"
        message = f"{home} cannot be written: {error.strerror}."
        return Finding("home", str(home), (Problem("home_not_writable", message, fix),))
    problems = []
    kind = _disk_kind(place)
    if kind in _REMOTE_DISKS:
        message = f"{home} is on a disk of the kind {kind}, on which databases break."
        fix = "export SYNAPSE_HOME=~/.local/share/synapse, or any folder on a disk of this machine"
        problems.append(Problem("remote_disk", message, fix))
    free = shutil.disk_usage(place).free
    if free < _LEAST_FREE_BYTES:
        message = f"{free / _GIB:.1f} GiB are free on the disk of {home}; runs fail when it is full."
        fix = f"du -xh --max-depth=2 {quoted} | sort -h | tail, and delete what is not needed"
        problems.append(Problem("disk_nearly_full", message, fix))
    said = f"{home}, {free / _GIB:.1f} GiB free" + (f", on {kind}" if kind else "")
    return Finding("home", said, tuple(problems))


def check_store(settings: Settings) -> Finding:
    """Have SQLite check the database of the runs, where it is the home's own file."""
    if os.environ.get("SYNAPSE_DATABASE_URL"):
        return Finding("store", "another database, by SYNAPSE_DATABASE_URL")
    file = settings.home / "synapse.db"
    if not file.exists():
        return Finding("store", "not made yet")
    import sqlite3  # only the doctor looks into it

    try:
        database = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=3)
        try:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if answer == "ok":
                (count,) = database.execute("SELECT count(*) FROM runs").fetchone()
                return Finding("store", f"{count} runs, {file.stat().st_size / 1024**2:.1f} MiB, sound")
        finally:
            database.close()
    except sqlite3.Error as error:
        answer = str(error)
    old, broken = shlex.quote(str(file)), shlex.quote(f"{file}.broken")
    return Finding(
        "store",
        str(file),
        (
            Problem(
                "store_damaged",
                f"{file} is damaged: {answer}.",
                f"mv {old} {broken} && rm -f {old}-wal {old}-shm; the folders of the runs stay, and each is "
                "found again by its id",
            ),
        ),
    )


def check_secret_files() -> Finding:
    """Look at who can read the profiles and the tokens that they name."""
    file = config_path()
    if not file.exists():
        return Finding("secrets", "no profiles")
    problems: list[Problem] = []
    files: tuple[Path, ...] = (file,)
    try:
        require_private(file, "the profiles")
        files = (file, *secret_files(file))
    except InvalidConfig as error:
        return Finding(
            "secrets", str(file), (Problem("bad_profiles", error.message, error.hint or f"Correct {file}."),)
        )
    for token in files[1:]:
        quoted = shlex.quote(str(token))
        try:
            require_private(token, "a token")
        except FileNotFoundError:
            fix = f"install -m 600 /dev/null {quoted}, then put the token into it"
            problems.append(Problem("no_token_file", f"{token} is named in {file} and not there.", fix))
        except InvalidConfig as error:
            problems.append(Problem("secret_readable", error.message, f"chmod 600 {quoted}"))
    return Finding("secrets", f"{len(files)} files that only you can read", tuple(problems))


def check_clients() -> Finding:
    """Look at which MCP clients know this server, and whether what they start is there."""
    # Only the doctor reads what clients keep.
    from synapse_mcp.client_config import CLIENTS, PROJECT, USER, entries_of_ours

    known, problems = [], []
    for client in CLIENTS.values():
        scopes = (USER, PROJECT) if client.project_file else (USER,)
        for scope in scopes:
            file = client.file(scope, Path.cwd())
            if scope == PROJECT and file == client.file(USER, Path.cwd()):
                continue  # the present folder is the user's own
            again = f"synapse-mcp install --client {client.name}" + (" --scope project" * (scope == PROJECT))
            try:
                entries = entries_of_ours(client, file)
            except InvalidConfig as error:
                problems.append(Problem("client_settings", error.message, f"Correct {file}, then {again}"))
                continue
            for name, entry in entries.items():
                command = str(entry.get("command", ""))
                known.append(f"{client.name} ({scope})")
                if shutil.which(command) is None:
                    message = f"{client.title} starts {name!r} with {command}, which is not there ({file})."
                    problems.append(Problem("client_command", message, f"{again} --name {shlex.quote(name)}"))
    said = ", ".join(known) or "none knows this server; synapse-mcp install --client NAME tells one"
    return Finding("clients", said, tuple(problems))


def check_servers(settings: Settings) -> Finding:
    """Look for servers of this home whose client is gone, or that run code which has been replaced."""
    servers = servers_of_home(settings.home)
    problems = []
    for server in servers:
        if server.is_orphan:
            message = f"The server with pid {server.pid} has lost the client that started it."
            problems.append(Problem("orphaned_server", message, f"kill {server.pid}"))
        elif server.is_outdated:
            message = f"The server with pid {server.pid} was started before synapse-mcp was installed anew."
            fix = f"Restart its client, or kill {server.pid}; runs go on."
            problems.append(Problem("outdated_server", message, fix))
    return Finding("servers", f"{len(servers)} run on this home", tuple(problems))


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _disk_kind(place: Path) -> str:
    """Return the kind of file system that a folder is on, '' where the system does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        _, mount, found, *_ = line.split(" ")
        folder = mount.encode().decode("unicode_escape")
        if place.resolve().is_relative_to(folder) and len(folder) >= len(best):
            best, kind = folder, found
    return kind
