"""Every exception that Synapse raises, each with a stable `code` and, where one is known, a `hint`.

    SynapseError                         error
    ├── PluginError                      plugin_error
    │   ├── ValidationError              invalid_params       every problem at once, see `problems`
    │   ├── InvalidConfig                invalid_config       names the file, the line and the key
    │   ├── PluginLoadError              plugin_load_failed   the plugin's own code does not import
    │   │   └── MissingDependency        missing_dependency   a package that the plugin needs is absent
    │   ├── SchemaIncompatibleError      incompatible_types   one action of a pipeline does not fit the next
    │   ├── ArchiveError                 archive_error        it cannot be packed, or must not be unpacked
    │   │   └── SecretInPlugin           secret_in_plugin     files with keys in them are not published
    │   └── ExecutionError               execution_failed     the action ran and failed
    │       ├── StepFailed               step_failed          also a RuntimeError
    │       ├── ActionFailed             (the cause's code)   an action of a pipeline; also a RuntimeError
    │       └── InvalidResult            invalid_result       not JSON, too large, or (strict) off its model
    ├── NotFound                         not_found            carries the nearest valid names
    │   ├── PluginNotFound               unknown_plugin
    │   ├── ActionNotFoundError          unknown_action       also a PluginError
    │   ├── RunNotFound                  unknown_run
    │   └── UnknownFormat                unknown_format       of a dataset
    │       └── UnknownConversion        unknown_conversion   no converter between two; also a ValueError
    ├── InvalidRequest                   invalid_request      the call itself cannot be carried out as asked
    ├── Conflict                         conflict             the same key stands for something else
    ├── DatasetError                     dataset_error
    │   ├── UnrecognisedDataset          unrecognised_dataset what stands there fits no format
    │   ├── AmbiguousDataset             ambiguous_dataset    it fits several, or can be read in several ways
    │   ├── InvalidDataset               invalid_dataset      it cannot be read as its format
    │   └── LossyConversion              lossy_conversion     strict: something would be lost; not written
    ├── BackendError                     backend_error        a call that the backend did not carry out
    │   ├── RecordNotFound               unknown_record       no record has this id; also a NotFound
    │   ├── BackendRejected              rejected             values or filters that it cannot take
    │   ├── BackendConflict              conflict             it holds something else already; also a Conflict
    │   ├── BackendUnauthorized          unauthorized         the token is missing, wrong or may not do this
    │   ├── InvalidAnswer                invalid_answer       what came back is no answer of a backend
    │   └── BackendUnavailable           backend_unavailable  down, slow or failing; also an Unavailable
    │       └── RateLimited              rate_limited         too many calls at once
    ├── StorageError                     storage_error        something is the matter with a storage
    │   ├── StorageConfigError           invalid_storage      names the setting and what is allowed
    │   ├── ProviderNotFound             unknown_provider     also a NotFound
    │   ├── InvalidStorageName           invalid_storage_name it is no name, or leads out of the storage
    │   ├── StorageNotFound              storage_not_found    nothing is stored there; also a NotFound
    │   ├── StoragePermissionError       storage_permission   the storage refuses this user
    │   ├── StorageConnectionError       storage_unavailable  it does not answer; also an Unavailable
    │   ├── UploadError                  upload_failed        nothing, or nothing whole, was stored
    │   └── CapabilityError              storage_capability   its provider cannot do that
    ├── RunFailed                        (the run's own code) a run ended in any state but succeeded
    ├── RunStopped*                      stopped              * a BaseException: `except Exception` misses it
    └── Unavailable                      unavailable          a service is down, retrying later can help
        ├── RayUnavailable               ray_unavailable
        ├── NoBackend                    no_backend           the run was given none; also a RuntimeError
        └── DiskFull                     disk_full            nothing more can be recorded in the home

Two places translate this tree and nobody else does: the worker (exception to terminal event) and the MCP
boundary (SynapseError to tool error).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` of `known` that `name` may have meant, the closest first."""
    lowered = {entry.lower(): entry for entry in known}
    return [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, most, 0.5)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean a, b?' for the nearest of `known`, or an empty text where none is near."""
    near = nearest(name, known)
    return f" Did you mean {', '.join(near)}?" if near else ""


class SynapseError(Exception):
    """The root: a failure that was foreseen and whose text was written for whoever can repair it.

    hint: what to do next, one sentence.
    details: plain JSON data for programs.
    retryable: True where the same call can succeed later without a change.
    """

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        hint: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors differ, and errors travel between processes: rebuild from what they hold.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[SynapseError], arguments: tuple[Any, ...], state: dict[str, Any]) -> SynapseError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


class PluginError(SynapseError):
    """Something about a plugin: its files, its parameters or its work."""

    code = "plugin_error"


class ValidationError(PluginError):
    """Parameters that the action does not take.

    problems: one entry for each, `{path, message, type, sent?, allowed?, did_you_mean?}`.
    """

    code = "invalid_params"

    def __init__(
        self,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        problems: Sequence[Mapping[str, Any]] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, details, hint=hint)
        self.problems = [dict(problem) for problem in problems]
        if self.problems:
            self.details["problems"] = self.problems


class InvalidConfig(PluginError):
    """A `config.yaml` that cannot be used; the message names the file, the line and the key."""

    code = "invalid_config"

    def __init__(
        self, message: str, *, problems: Sequence[Mapping[str, Any]] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, {"problems": [dict(problem) for problem in problems]}, hint=hint)
        self.problems = [dict(problem) for problem in problems]


class PluginLoadError(PluginError):
    """The plugin's own code could not be imported, or its entrypoint is not an action."""

    code = "plugin_load_failed"


class MissingDependency(PluginLoadError):
    """The plugin imports a package that this environment does not have."""

    code = "missing_dependency"

    def __init__(self, module: str, plugin: str) -> None:
        super().__init__(
            f"Plugin {plugin!r} imports {module!r}, which is not installed in this environment.",
            {"module": module},
            hint="Install the plugin's requirements (its requirements.txt) into the environment that runs "
            "Synapse, then run the action again.",
        )


class SchemaIncompatibleError(PluginError):
    """What one action of a pipeline gives is not what the next one takes."""

    code = "incompatible_types"


class ArchiveError(PluginError):
    """A folder that cannot be packed, or an archive that is damaged, too large or made to do harm."""

    code = "archive_error"


class SecretInPlugin(ArchiveError):
    """A plugin's folder has files that hold keys, or look as if they did; nothing was packed."""

    code = "secret_in_plugin"

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"{root} cannot be published: keys are, or seem to be, in {', '.join(names[:10])}"
            f"{' and more' if len(names) > 10 else ''}.",
            {"files": list(names)},
            hint="Remove them, or name them in .synapseignore; give keys to runs by `env` in config.yaml, "
            "which passes a variable on from whoever starts the run.",
        )


class ExecutionError(PluginError):
    """The action ran and did not succeed."""

    code = "execution_failed"


class StepFailed(ExecutionError, RuntimeError):
    """A step of a workflow failed; what had run before it was rolled back.

    step: the name of the step that failed.
    errors: what else went wrong, failed rollbacks among it.
    """

    code = "step_failed"

    def __init__(self, step: str, error: str | None) -> None:
        super().__init__(
            f"Step {step!r} failed: {error or 'no reason was given'}",
            {"step": step, "errors": []},
            hint="Read the run's log for the traceback; steps that had finished were rolled back.",
        )
        self.step = step
        self.errors: list[str] = []

    def note_errors(self, errors: Sequence[str]) -> None:
        """Add what went wrong besides, failed rollbacks among it."""
        self.errors = self.details["errors"] = list(errors)


class ActionFailed(ExecutionError, RuntimeError):
    """An action of a pipeline failed; `code` is the code of its cause.

    action: the name of the pipeline's entry.
    """

    code = "action_failed"

    def __init__(
        self,
        action: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(
            f"Action {action!r} failed: {message}",
            {**(details or {}), "action": action},
            hint=hint,
            retryable=retryable,
        )
        self.action = action
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance tells the cause's code, the class the default


class InvalidResult(ExecutionError):
    """The action returned something that a run record cannot hold."""

    code = "invalid_result"


class NotFound(SynapseError):
    """A name or an id that stands for nothing."""

    code = "not_found"


class PluginNotFound(NotFound):
    """No plugin of this code is on the plugin paths."""

    code = "unknown_plugin"

    def __init__(self, plugin: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no plugin {plugin!r}.{did_you_mean(plugin, known)} "
            f"Known plugins: {', '.join(sorted(known)[:10]) or 'none'}.",
            {"asked": plugin, "nearest": nearest(plugin, known)},
            hint="Call list_plugins to see every plugin.",
        )


class ActionNotFoundError(NotFound, PluginError):
    """The plugin is there, the action is not. `details['available']` lists what it has."""

    code = "unknown_action"

    def __init__(self, plugin: str, action: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Plugin {plugin!r} has no action {action!r}; it has {', '.join(known) or 'none'}."
            f"{did_you_mean(action, known)}",
            {"asked": action, "available": list(known), "nearest": nearest(action, known)},
            hint="Call describe_plugin to see the parameters of each.",
        )


class RunNotFound(NotFound):
    """No run of this id is recorded here."""

    code = "unknown_run"

    def __init__(self, run_id: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no run {run_id!r}.{did_you_mean(run_id, known)}",
            {"asked": run_id, "nearest": nearest(run_id, known) or list(known[:3])},
            hint="Call list_runs to see the recorded runs, newest first.",
        )


class UnknownFormat(NotFound):
    """There is no dataset format of this name, or none that can be written."""

    code = "unknown_format"

    def __init__(self, name: str, known: Sequence[str], verb: str = "read") -> None:
        super().__init__(
            f"{name!r} is no dataset format that can be {'read' if verb == 'read' else 'written'}; "
            f"there are {', '.join(known)}.{did_you_mean(name, known)}",
            {"format": name, "known": list(known)},
            hint="Give one of these, or leave the format out to have it detected."
            if verb == "read"
            else "Give one of these.",
        )


class UnknownConversion(UnknownFormat, ValueError):
    """There is no converter between these two formats."""

    code = "unknown_conversion"

    def __init__(self, source: str, target: str, pairs: Sequence[str]) -> None:
        SynapseError.__init__(
            self,
            f"There is no converter from {source!r} to {target!r}. There are {', '.join(pairs)}.",
            {"source": source, "target": target, "pairs": list(pairs)},
            hint="convert() of synapse_core.datasets.conversion knows every pair of formats.",
        )


class DatasetError(SynapseError):
    """Something is the matter with a dataset."""

    code = "dataset_error"


class UnrecognisedDataset(DatasetError):
    """What stands there fits no format; the message has what was seen and the nearest guess."""

    code = "unrecognised_dataset"


class AmbiguousDataset(DatasetError):
    """It fits several formats, or can be read in several ways; the message says which and how to choose."""

    code = "ambiguous_dataset"


class InvalidDataset(DatasetError):
    """It cannot be read as its format; the message names the file."""

    code = "invalid_dataset"


class LossyConversion(DatasetError):
    """A strict conversion would lose something. Nothing was written; `details` has what would be lost."""

    code = "lossy_conversion"


class StorageError(SynapseError):
    """Something is the matter with a storage. No message of these holds a secret of its configuration."""

    code = "storage_error"


class StorageConfigError(StorageError):
    """A storage's configuration cannot be used; the message names the setting and what is allowed."""

    code = "invalid_storage"


class ProviderNotFound(StorageError, NotFound):
    """There is no storage provider of this name."""

    code = "unknown_provider"

    def __init__(self, provider: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no storage provider {provider!r}; there are {', '.join(known)}."
            f"{did_you_mean(provider, known)}",
            {"asked": provider, "known": list(known), "nearest": nearest(provider, known)},
            hint="Give one of these, or add your own with register_provider of synapse_core.storage.",
        )


class InvalidStorageName(StorageError):
    """A name, or a URL, that is none of a storage, or leads out of its base. Nothing was touched.

    shown: the name, as it may stand in a message.
    """

    code = "invalid_storage_name"

    def __init__(self, shown: str, reason: str) -> None:
        super().__init__(
            f"{shown} is no name in this storage: {reason}.",
            {"asked": shown, "reason": reason},
            hint="Give a name below the storage's base, such as 'labels/0001.json', with / between its parts.",
        )


class StorageNotFound(StorageError, NotFound):
    """Nothing is stored under this name."""

    code = "storage_not_found"


class StoragePermissionError(StorageError):
    """The storage does not let this user do that."""

    code = "storage_permission"


class UploadError(StorageError):
    """A file could not be stored, or not as it was; where the provider can tell, no part of it is there."""

    code = "upload_failed"


class CapabilityError(StorageError):
    """The storage's provider cannot do what was asked; see its `capabilities`."""

    code = "storage_capability"


class InvalidRequest(SynapseError):
    """The call cannot be carried out as asked, and nothing was changed."""

    code = "invalid_request"


class Conflict(SynapseError):
    """The key that was given already stands for another request."""

    code = "conflict"


class RunFailed(SynapseError):
    """A run ended in another state than succeeded; `code` is the code of its failure.

    run_id, state: which run, and how it ended.
    """

    code = "run_failed"

    def __init__(
        self, run_id: str, state: str, message: str, *, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, {"run_id": run_id, "state": state}, hint=hint)
        self.run_id = run_id
        self.state = state
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance tells the run's code, the class the default


class RunStopped(BaseException):
    """Raised inside an action when its run was asked to stop, so that rollbacks run and the run ends.

    A BaseException, because actions may hold `except Exception` around their work.
    """

    code: ClassVar[str] = "stopped"


class Unavailable(SynapseError):
    """A service that the call needs does not answer; nothing was changed."""

    code = "unavailable"
    retryable = True


class StorageConnectionError(StorageError, Unavailable):
    """The storage does not answer, or not in time; trying again later can help."""

    code = "storage_unavailable"
    retryable = True


class RayUnavailable(Unavailable):
    """Ray could not be started or reached."""

    code = "ray_unavailable"


class NoBackend(Unavailable, RuntimeError):
    """The action needs a backend, and its run was given none."""

    code = "no_backend"
    retryable = False

    def __init__(self, action: str) -> None:
        super().__init__(
            f"{action} needs a backend, and this run has none.",
            hint="Run it with run_plugin, the command line or the server, which give a run its backend; or "
            "set `client` of the RuntimeContext that you make.",
        )


class DiskFull(Unavailable):
    """The disk of the home has no room for another record."""

    code = "disk_full"

    def __init__(self, home: str, reason: object) -> None:
        super().__init__(
            f"Nothing more can be recorded in {home}: {reason}",
            hint="Free disk space there (old folders below runs/ can be large), then call again.",
        )


class BackendError(SynapseError):
    """A call that the backend did not carry out."""

    code = "backend_error"


class RecordNotFound(BackendError, NotFound):
    """The backend has no record of this kind with this id."""

    code = "unknown_record"

    def __init__(self, kind: str, asked: object, *, hint: str | None = None) -> None:
        super().__init__(f"The backend has no {kind} {asked!r}.", {"kind": kind, "asked": asked}, hint=hint)


class BackendRejected(BackendError):
    """The backend cannot take these values; the message says which and why."""

    code = "rejected"


class BackendConflict(BackendError, Conflict):
    """The backend holds something else under this name already."""

    code = "conflict"


class BackendUnauthorized(BackendError):
    """The token is missing, wrong, expired, or may not do this."""

    code = "unauthorized"


class InvalidAnswer(BackendError):
    """What came back is not what a backend answers."""

    code = "invalid_answer"


class BackendUnavailable(BackendError, Unavailable):
    """The backend is down, too slow or failing; the same call can succeed later."""

    code = "backend_unavailable"


class RateLimited(BackendUnavailable):
    """The backend refuses more calls for now."""

    code = "rate_limited"
