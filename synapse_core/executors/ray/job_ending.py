"""How a job ended that left no word itself, in Ray's words for whoever can repair it."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime

from synapse_core.errors import RayUnavailable
from synapse_core.executors.ray.endings import exit_told, plain
from synapse_core.executors.ray.job_env import NO_FOLDER
from synapse_core.executors.ray.job_server import Job
from synapse_core.run_folder import Claim, Exit, RunFolder

# The kind of end that Ray cannot tell itself.
CLUSTER_DIED = "CLUSTER_DIED"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What installers say of why they gave up.
_REASON = re.compile(r"^\s*(?:ERROR|error|Error|Caused by|[^\w\s]\W*No solution)[ :].*$", re.MULTILINE)


def end_unbegun(folder: RunFolder, job: Job) -> None:
    """Give a run up whose job ended before the run had begun, unless somebody has begun it by now."""
    if not folder.claim(Claim("nobody")):
        return
    if job.message:
        with open(folder.output, "ab") as output:  # nobody else writes there any more
            output.write(f"{_ANSI.sub('', job.message).strip()}\n".encode(errors="replace"))
    folder.write_exit(exit_of_job(job, has_begun=False))


def exit_of_job(job: Job, *, has_begun: bool) -> Exit:
    """Return how a run ended, from what Ray says of its job."""
    now = datetime.now(UTC)
    if job.status == "STOPPED":
        return Exit(now, signal="SIGTERM", cause="stopped") if has_begun else Exit(now, cause="stopped")
    kind = job.error_type or ""
    if kind == CLUSTER_DIED:
        return Exit(
            now,
            cause=RayUnavailable.code,
            message="The Ray cluster died that the run had been given to.",
            hint="Run it again; get_status tells how the cluster is.",
        )
    if kind == "RUNTIME_ENV_SETUP_FAILURE":
        return Exit(
            now,
            cause="runtime_env_failed",
            message=f"Ray could not make the surroundings that the run asks for: {_reason(job)}",
            hint="Correct the plugin's requirements, or runtime_env in its config.yaml; get_run_logs has all "
            "that Ray says.",
        )
    if kind == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT":
        return Exit(
            now,
            cause="never_started",
            message=f"Ray gave the job up before it had begun: {plain(job.message)}",
            hint="Ask for less, wait until the cluster is less busy, or have its head started with a larger "
            "RAY_JOB_START_TIMEOUT_SECONDS.",
        )
    if job.driver_exit_code == NO_FOLDER:
        return Exit(
            now,
            cause="node_unprepared",
            message="Ray began the job on a node that does not have the run's folder: the home's disk "
            "is not shared with it.",
            hint="Put the home (SYNAPSE_HOME) on a disk that all nodes share, or use mode 'task'.",
        )
    if job.driver_exit_code is not None and has_begun:
        return _exit_with(now, job.driver_exit_code)
    if job.driver_exit_code is not None:
        return Exit(
            now,
            cause="worker_exited",
            message=f"Ray's job ended with exit code {job.driver_exit_code} before the run began.",
            hint="Call get_run_logs to see why; Python or synapse-mcp may be missing where the job ran.",
        )
    return exit_told(plain(job.message), "OutOfMemory" in (job.message or ""))


def _exit_with(now: datetime, code: int) -> Exit:
    """Return the end of a process as Ray or a shell counts it: -9 and 137 are both a SIGKILL."""
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return Exit(now, signal=signal.Signals(number).name)
    return Exit(now, code=code)


def _reason(job: Job) -> str:
    """Return the sentences of a long message that tell the cause."""
    words = _ANSI.sub("", job.message or "no reason is given").strip()
    found = _REASON.findall(words)
    return " ".join(line.strip() for line in found[-3:])[:800] if found else words[-800:]
