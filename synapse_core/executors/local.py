"""LocalExecutor: an action in this very process, for scripts, tests and the debugger."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synapse_core.backend_choice import BackendOnDemand
from synapse_core.base_action import BaseAction
from synapse_core.context import RuntimeContext
from synapse_core.discovery import ActionClass, PluginDiscovery
from synapse_core.environment import PluginEnvironment, default_home
from synapse_core.errors import ExecutionError, SynapseError
from synapse_core.loggers import BaseLogger, ConsoleLogger


class LocalExecutor:
    """Runs actions here and now. Nothing is recorded, nothing is isolated.

    env: what the action sees; the process environment where none is given.
    working_dir: the plugin's folder, so that actions can be named instead of passed.
    """

    def __init__(
        self,
        env: PluginEnvironment | Mapping[str, Any] | None = None,
        job_id: str | None = None,
        language: str | None = None,
        *,
        working_dir: str | Path | None = None,
        logger: BaseLogger | None = None,
    ) -> None:
        if env is None:
            env = os.environ
        self._env = env if isinstance(env, PluginEnvironment) else PluginEnvironment(env)
        self._job_id = job_id
        self._language = language
        self._working_dir = working_dir
        self._logger = logger

    def execute(
        self,
        action: ActionClass | str,
        params: Mapping[str, Any] | None = None,
        *,
        context: RuntimeContext | None = None,
    ) -> Any:
        """Run an action, given as its class or as a name in `working_dir`, and return what it returns.

        context: what the action is given; a new one where it is left out.
        Raises ValidationError for parameters that do not fit, ExecutionError for anything that it raised.
        """
        found = _resolve(action, self._working_dir)
        backend = BackendOnDemand.of_environment(default_home(), os.environ)
        context = context or RuntimeContext(
            logger=self._logger or ConsoleLogger(),
            env=self._env,
            client=backend,
            job_id=self._job_id,
            language=self._language,
        )
        try:
            with context.stop.armed():
                return found.dispatch(params or {}, context)
        except SynapseError:
            raise
        except Exception as error:  # the seam to foreign code: one kind of error comes out
            raise ExecutionError(f"Action execution failed: {type(error).__name__}: {error}") from error
        finally:
            backend.close()


def _resolve(action: ActionClass | str | Any, working_dir: str | Path | None) -> ActionClass:
    """Return the class of an action that is given as a class, an @action function or a name."""
    if isinstance(action, str):
        return PluginDiscovery.from_path(Path(working_dir or ".")).get_action_class(action)
    found = getattr(action, "_action_class", action)
    if not (isinstance(found, type) and issubclass(found, BaseAction)):
        raise ExecutionError(
            f"{action!r} is not an action.", hint="Pass a subclass of BaseAction or the name of an action."
        )
    return found
