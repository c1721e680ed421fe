"""The one body that runs every action: a request in, ordered events out, the last of them terminal.

Executors only carry this body somewhere. It is the one place where an action's failure becomes an event.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from synapse_core.backend_choice import BackendOnDemand, open_backend
from synapse_core.context import RuntimeContext
from synapse_core.discovery import introduced, load_action
from synapse_core.environment import PluginEnvironment
from synapse_core.errors import (
    ActionFailed,
    ExecutionError,
    InvalidRequest,
    MissingDependency,
    RunStopped,
    StepFailed,
    SynapseError,
)
from synapse_core.events import AnyEvent, Failed, RunStarted, Stopped, Succeeded, to_plain
from synapse_core.loggers import EventLogger
from synapse_core.profile import Profile, find_profile
from synapse_core.run_folder import RunFolder, RunRequest
from synapse_core.stop import StopSignal
from synapse_core.tracing import RunTrace, run_trace

if TYPE_CHECKING:
    from synapse_core.backend import Backend

# How long an ended run's process may take for its own exit handlers and threads.
LINGER_SECONDS = 5.0


def run_request(
    folder: RunFolder, request: RunRequest, stop: StopSignal, trace: RunTrace | None = None
) -> AnyEvent:
    """Run what the folder asks for in this thread and return the terminal event, which is also recorded.

    trace: told every event.

    Never raises: whatever the action does short of ending the process becomes an event.
    """
    folder.reserve()
    logger = EventLogger(
        folder.events, stop, echo=sys.stdout.write, watch=None if trace is None else trace.see
    )
    backend = BackendOnDemand(lambda: _backend_of(request))
    context = RuntimeContext(
        logger=logger,
        client=backend,
        env=PluginEnvironment({**os.environ, **request.environment}),
        job_id=request.run_id,
        language=request.language,
        stop=stop,
        run_folder=folder.path,
    )
    logger.emit(RunStarted(pid=os.getpid(), host=platform.node(), mode=request.mode))
    ending: AnyEvent
    try:
        with stop.armed():
            ending = _succeed(request, context)
    except RunStopped:
        # The supervisor asks for both; who asks for a stop writes it down first.
        is_late = request.timeout_seconds is not None and folder.stop_requested() is None
        ending = timed_out(request) if is_late else Stopped()
    except ActionFailed as error:
        # Its own traceback is that of a pipeline; the action's log has the one that matters.
        ending = failure_of(error, Path(request.root), request.plugin)
    except BaseException as error:  # noqa: BLE001  # the worker body: every failure becomes a terminal event
        # Foreign code can raise anything, SystemExit and KeyboardInterrupt among it.
        with suppress(OSError):  # the disk may be full
            traceback.print_exc()
        ending = failure_of(error, Path(request.root), request.plugin)
    backend.close()
    folder.release()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    logger.emit(ending)
    logger.close()
    return ending


def run_in_this_process(folder: RunFolder, root: str | None = None) -> int:
    """Make this process the worker of a run and run it. Returns the exit code: 0 where it succeeded.

    root: where the plugin is, if not where the request says.
    """
    request = folder.request()
    if request is None:
        raise InvalidRequest(f"{folder.path} holds no request.json: there is nothing to run.")
    if root is not None:
        request = msgspec.structs.replace(request, root=root)
    stop = StopSignal()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.request())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.argv = [request.plugin]
    with surroundings(folder, request), run_trace(request) as trace:
        ending = run_request(folder, request, stop, trace)
    code = 0 if isinstance(ending, Succeeded) else 1
    # Threads that the action left behind must not keep an ended run alive.
    watchdog = threading.Timer(LINGER_SECONDS, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    return code


@contextmanager
def surroundings(
    folder: RunFolder, request: RunRequest, passed: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Give a run its environment and its working directory, the artifacts folder, and take them back.

    passed: variables of the submitter, where they did not come with the process.
    """
    environment = dict(os.environ)
    directory = os.getcwd()  # noqa: PTH109  # os.chdir takes it back
    os.environ.update({**(passed or {}), **request.environment})
    os.environ["SYNAPSE_JOB_ID"] = request.run_id
    os.chdir(folder.artifacts)
    try:
        yield
    finally:
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)


def timed_out(request: RunRequest) -> Failed:
    """Return the terminal event of a run that took longer than it may."""
    return Failed(
        code="timeout",
        message=f"The run took longer than its limit of {request.timeout_seconds:g} s and was stopped.",
        hint="Raise timeout_seconds of the call, or of the action in config.yaml, or give it less to do.",
    )


def failure_of(error: BaseException, root: Path, plugin: str) -> Failed:
    """Return the terminal event that tells `error` to whoever can repair its cause."""
    trace = "".join(traceback.format_exception(error))[-16_000:]
    if isinstance(error, StepFailed) and error.__cause__ is not None:
        # Why the step failed tells more than that it did.
        cause = failure_of(error.__cause__, root, plugin)
        told = error.code if cause.code == ExecutionError.code else cause.code
        return msgspec.structs.replace(
            cause,
            code=told,
            message=f"Step {error.step!r} failed: {cause.message}",
            details={**cause.details, **error.details},
            traceback=trace,
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        error = MissingDependency(error.name, plugin)
    if isinstance(error, SynapseError):
        return Failed(
            code=error.code,
            message=error.message,
            hint=error.hint,
            retryable=error.retryable,
            details=error.details,
            traceback=trace,
        )
    place = _place(error, root)
    if isinstance(error, SystemExit):
        return Failed(
            code="exited",
            message=f"The action called sys.exit({error.code!r}){place} instead of returning a result.",
            hint="Return a result, or raise an error that says what is wrong.",
            traceback=trace,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(
            code="disk_full",
            message=f"The disk is full{place}: {error}",
            hint="Free space on the disk of the home (and of what the action writes), then run it again.",
            retryable=True,
            traceback=trace,
        )
    if isinstance(error, MemoryError):
        return Failed(
            code="out_of_memory",
            message=f"The action ran out of memory{place}. {error}".strip(),
            hint="Work on smaller batches, or run where there is more memory.",
            traceback=trace,
        )
    return Failed(
        code="execution_failed",
        message=f"{type(error).__name__}: {error}{place}",
        hint="Call get_run_logs for the traceback; correct the plugin or the parameters.",
        traceback=trace,
    )


def _backend_of(request: RunRequest) -> Backend:
    """Return the backend that the submitter of a run uses."""
    profile = Profile() if request.profile is None else find_profile(request.profile)
    return open_backend(Path(request.home) if request.home else None, profile)


def _succeed(request: RunRequest, context: RuntimeContext) -> Succeeded:
    reference = request.actions[0]
    # What is our own has no root: nothing of a plugin's has to be found.
    root = Path(request.root) if request.root else None
    found = load_action(reference.entrypoint, root, request.plugin)
    action = introduced(found, reference.name, reference.category)
    result = action.dispatch(request.params, context, strict=reference.strict_results)
    plain = to_plain(result)
    _record_artifacts(context)
    return Succeeded(result=plain, result_warnings=context.result_warnings)


def _record_artifacts(context: RuntimeContext) -> None:
    """Record the files of the artifacts folder that the action did not record itself."""
    recorded = context.recorded_artifacts
    for file in sorted(context.artifacts_dir.rglob("*")):
        if file.is_file() and file not in recorded:
            context.add_artifact(file, file.relative_to(context.artifacts_dir).as_posix())


def _place(error: BaseException, root: Path) -> str:
    """Return ' (file:line)' of the innermost frame in the plugin's own code, or nothing."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(root):
            place = f" ({Path(frame.filename).relative_to(root)}:{frame.lineno})"
    return place
