"""The folder of one run: the contract between whoever executes it and whoever watches it.

The executing side appends, the watching side reads. Whole files are written beside their place and renamed.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from synapse_core.decoding import decoded
from synapse_core.processes import ProcessId

T = TypeVar("T")

# Room for the terminal event with its traceback, and for exit.json.
_RESERVED_BYTES = 1 << 16


class ActionRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action of a request: its name and where its code is. category: the plugin's."""

    name: str
    entrypoint: str
    strict_results: bool = False
    category: str | None = None


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run needs. memory in bytes."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None


class Packages(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the plugin's requirements are installed with, where the mode installs them.

    manager: pip or uv. options: for its install command. requirements_file, wheels_dir: relative to the
    plugin's folder, or absolute.
    """

    manager: str = "pip"
    options: tuple[str, ...] = ()
    requirements_file: str = "requirements.txt"
    wheels_dir: str = "wheels"


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often an action of a pipeline is tried.

    The wait before attempt n+1 is `delay_seconds` * `backoff` ** (n - 1). only_retryable: only after
    failures that the same call can overcome without a change, such as a worker that was killed.
    """

    max_attempts: int = 1
    delay_seconds: float = 0.0
    backoff: float = 2.0
    only_retryable: bool = False


class TakenOver(msgspec.Struct, frozen=True):
    """What an action returned in an earlier run, which is not to be done again."""

    run_id: str
    result: Any = None


class PipelineEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action of a pipeline.

    request: how to run it; its params win over those that come from elsewhere, its run_id is chosen when it
    starts. after: the entries that have to succeed before. takes: the parameters that it knows, None for any.
    """

    name: str
    request: RunRequest
    after: tuple[str, ...] = ()
    takes: tuple[str, ...] | None = None
    retry: RetryPolicy = RetryPolicy()
    earlier: TakenOver | None = None


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that a worker needs to know.

    root: the plugin's folder, empty for an action of our own. environment: plain values from config.yaml;
    passed_names: variables whose values come from the submitter's environment and are never written down for
    longer than it takes to hand them over. runtime_env, packages: how a Ray job's surroundings are made,
    as config.yaml has it. ships: what is uploaded to the cluster instead of being read from a shared disk:
    "plugin", "sdk".
    pipeline: the actions of a pipeline, each after those that it depends on; `actions` names its coordinator
    then. parent: the run folder of the pipeline that this run belongs to. resume_from: the run that the
    pipeline goes on with.
    home, profile: where the run was submitted and with which profile's settings, for the backend; home is
    empty for a worker that does not have its disk. principal: who submitted it, where a server tells its
    users apart.
    traceparent: the span of OpenTelemetry that the run is a part of, where there is one.
    """

    run_id: str
    plugin: str
    root: str
    actions: tuple[ActionRef, ...]
    params: dict[str, Any] = {}
    mode: str = "local"
    plugin_version: str = ""
    content: str = ""
    resources: Resources = Resources()
    environment: dict[str, str] = {}
    passed_names: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    language: str | None = None
    runtime_env: dict[str, Any] = {}
    packages: Packages = Packages()
    ships: tuple[str, ...] = ()
    pipeline: tuple[PipelineEntry, ...] = ()
    parent: str | None = None
    resume_from: str | None = None
    home: str = ""
    profile: str | None = None
    principal: str | None = None
    traceparent: str | None = None


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run was handed to an engine that begins it when it can.

    url: the job server. is_own: it is that of the home's own cluster, which may have been started anew since.
    """

    url: str
    is_own: bool = False


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who executes the run. There is one claim a run, made before any work, so that nothing runs twice.

    executor 'nobody' means that the run was given up before anybody had begun it. shipper: the actor that
    brings the files of a worker which does not share the home's disk.
    """

    executor: str
    supervisor: ProcessId | None = None
    worker: ProcessId | None = None
    host: str = ""
    actor: str | None = None
    shipper: str | None = None

    @property
    def is_mirrored(self) -> bool:
        return self.shipper is not None

    @property
    def is_given_up(self) -> bool:
        return self.executor == "nobody"


class StopRequest(msgspec.Struct, frozen=True):
    """Somebody asked for the run to stop."""

    at: datetime
    force: bool = False


class Exit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the worker process ended, or what the engine knows of it. code and signal exclude each other."""

    at: datetime
    code: int | None = None
    signal: str | None = None
    cause: str | None = None
    message: str | None = None
    hint: str | None = None


def new_run_id() -> str:
    """Return an id that nobody can guess: 80 random bits, readable."""
    return "run-" + base64.b32encode(secrets.token_bytes(10)).decode().lower()


class RunFolder:
    """The files of one run, by what they hold."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def output(self) -> Path:
        return self.path / "output.log"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def _passed(self) -> Path:
        return self.path / "passed.json"

    @property
    def shared(self) -> Path:
        """The folder that all actions of a pipeline share."""
        return self.path / "shared"

    def action(self, name: str, attempt: int = 1) -> RunFolder:
        """Return the folder of one attempt of an action of this pipeline."""
        return RunFolder(self.path / "actions" / (name if attempt == 1 else f"{name}.{attempt}"))

    def action_folders(self) -> list[RunFolder]:
        """Return the folders of the actions that this pipeline has begun, of every attempt."""
        try:
            return [RunFolder(entry.path) for entry in os.scandir(self.path / "actions")]
        except FileNotFoundError:
            return []

    @property
    def is_being_executed(self) -> bool:
        """True while a process of this machine that has the run is there."""
        claim = self.claimed()
        if claim is None or self.exit() is not None:
            return False
        return any(process is not None and process.is_alive for process in (claim.supervisor, claim.worker))

    def create(self, request: RunRequest) -> None:
        """Lay the folder out and write the request into it."""
        # What a plugin prints may be secret: nobody but the owner looks into it.
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.artifacts.mkdir(exist_ok=True)
        self._write("request.json", request)

    def request(self) -> RunRequest | None:
        """Return what is to be run, None where the folder has not been laid out."""
        return self._read("request.json", RunRequest)

    def created(self) -> datetime:
        """Return when the request was written."""
        return datetime.fromtimestamp((self.path / "request.json").stat().st_mtime, UTC)

    def claim(self, claim: Claim) -> bool:
        """Take the run. Returns False where somebody has it already: then leave it alone."""
        temporary = self._temporary("claim.json", claim)
        try:
            # A link is made whole or not at all, and only where the name is free.
            os.link(temporary, self.path / "claim.json")
            return True
        except FileExistsError:
            return False
        finally:
            temporary.unlink()

    def update_claim(self, claim: Claim) -> None:
        """Tell more of who executes the run; only the claim's owner may."""
        self._write("claim.json", claim)

    def claimed(self) -> Claim | None:
        """Return who executes the run, None where nobody has begun."""
        return self._read("claim.json", Claim)

    def request_stop(self, force: bool = False) -> None:
        """Write down that the run is to stop."""
        self._write("stop.json", StopRequest(datetime.now(UTC), force))

    def stop_requested(self) -> StopRequest | None:
        return self._read("stop.json", StopRequest)

    def write_exit(self, ending: Exit) -> None:
        """Write down how the worker ended; the first to know is believed."""
        if self.exit() is None:
            self._write("exit.json", ending)
        self._passed.unlink(missing_ok=True)

    def exit(self) -> Exit | None:
        return self._read("exit.json", Exit)

    def reserve(self) -> None:
        """Set disk space aside, so that the end of the run can be told even when the disk is full then."""
        (self.path / ".reserve").write_bytes(bytes(_RESERVED_BYTES))

    def release(self) -> None:
        """Give back what was set aside."""
        (self.path / ".reserve").unlink(missing_ok=True)

    def hand_over(self, environment: Mapping[str, str]) -> None:
        """Leave the submitter's variables for the supervisor, readable by this user alone.

        What a submitter has left stays: a later one need not know as much.
        """
        temporary = self.path / f".passed.json.{os.getpid()}.{secrets.token_hex(4)}"
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "wb") as file:
            file.write(msgspec.json.encode(environment))
        try:
            os.link(temporary, self._passed)
        except FileExistsError:
            return  # handed over already
        finally:
            temporary.unlink()

    def take_over(self) -> dict[str, str]:
        """Return the variables that the submitter left, and delete them; empty where it left none."""
        found = self._read("passed.json", dict[str, str])
        self._passed.unlink(missing_ok=True)
        return found or {}

    def note_submission(self, submission: Submission) -> None:
        """Write down where the run was handed in."""
        self._write("submission.json", submission)

    def submission(self) -> Submission | None:
        """Return where the run was handed in, None where it was not, or needs no engine."""
        return self._read("submission.json", Submission)

    def note_waiting(self, reason: str) -> None:
        """Write down why the run has not begun."""
        self._write("waiting.json", reason)

    def waiting(self) -> str | None:
        return self._read("waiting.json", str)

    def stop_if_orphaned(self, request: RunRequest) -> bool:
        """Write down that the run is to stop where it belongs to a pipeline that is gone.

        Returns True where it did. A pipeline that cannot be seen from this machine counts as going on.
        """
        if request.parent is None or not _is_gone(RunFolder(request.parent)):
            return False
        if self.stop_requested() is None:
            self.request_stop()
        return True

    def _write(self, name: str, value: Any) -> None:
        """Write a whole file so that a reader sees the old one or the new one, never a part."""
        self._temporary(name, value).replace(self.path / name)

    def _temporary(self, name: str, value: Any) -> Path:
        temporary = self.path / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        temporary.write_bytes(msgspec.json.encode(value))
        return temporary

    def _read(self, name: str, kind: type[T]) -> T | None:
        """Return a file's content, None where it is absent."""
        try:
            content = (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return decoded(content, kind)


def _is_gone(folder: RunFolder) -> bool:
    """Return True where a run has ended, or the process that executes it here has."""
    if folder.exit() is not None:
        return True
    claim = folder.claimed()
    if claim is None or claim.worker is None or claim.host != os.uname().nodename:
        return False
    return not claim.worker.is_alive
