"""What actions with built-in steps have in common: a backend, and that an execute() can replace the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from synapse_core.base_action import BaseAction
from synapse_core.errors import NoBackend
from synapse_core.steps import BaseStep, BaseStepContext

if TYPE_CHECKING:
    from synapse_core.backend import Backend

P = TypeVar("P")
C = TypeVar("C", bound=BaseStepContext)


class WorkflowAction(BaseAction[P]):
    """An action that comes with steps.

    A subclass that registers other steps, or none of its own, is run by its steps. One that defines
    `execute()` and leaves the steps as they are does all the work there; super().execute() runs the steps.
    """

    @property
    def client(self) -> Backend:
        """The backend. Raises NoBackend where there is none."""
        if self.ctx.client is None:
            raise NoBackend(type(self).__name__)
        client: Backend = self.ctx.client
        return client

    def run(self) -> Any:
        """Do the action: by execute() where a subclass of a ready-made one defines it, else by its steps."""
        return self.execute() if self._is_simple() else super().run()

    def _is_simple(self) -> bool:
        """Return True where execute() was defined below the class that registers the steps."""
        line = type(self).__mro__
        executes = next(index for index, one in enumerate(line) if "execute" in vars(one))
        registers = next(index for index, one in enumerate(line) if "setup_steps" in vars(one))
        return executes < registers


class BuiltInStep(BaseStep[C]):
    """A step whose name and weight are constants of its class."""

    step_name: ClassVar[str]
    weight: ClassVar[float]

    @property
    def name(self) -> str:
        return self.step_name

    @property
    def progress_weight(self) -> float:
        return self.weight
