"""Errors about plugins: their files, their parameters, their work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synapse_core.errors.base import NotFound, SynapseError, did_you_mean, nearest


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


class CannotAsk(ExecutionError):
    """The user cannot be asked for this, or not from here."""

    code = "cannot_ask"


class UnsafeMetadata(ExecutionError):
    """A table that is larger than any that is meant honestly, or made to do harm."""

    code = "unsafe_metadata"


class InvalidMetadata(ExecutionError):
    """A table that is none: another header, broken, in another encoding."""

    code = "invalid_metadata"


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
