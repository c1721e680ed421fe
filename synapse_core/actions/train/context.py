"""What the steps of a training share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_core.errors import ExecutionError, NoBackend
from synapse_core.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_core.actions.train.action import BaseTrainAction
    from synapse_core.backend import Backend


@dataclass
class TrainContext(BaseStepContext):
    """The state of a training workflow.

    params: the action's parameters as plain values. dataset: what was fetched or converted; data_path: what
    a training takes of it. model_path: what was trained, a file or a folder. result: what the training
    returned. model: the record that was registered of it.
    """

    params: dict[str, Any] = field(default_factory=dict)
    dataset: Any = None
    data_path: str | None = None
    model_path: str | None = None
    result: Any = None
    model: Any = None
    action: BaseTrainAction[Any] | None = None

    @property
    def client(self) -> Backend:
        """The backend. Raises NoBackend where there is none."""
        if self.runtime_ctx.client is None:
            raise NoBackend("The training")
        client: Backend = self.runtime_ctx.client
        return client

    @property
    def training(self) -> BaseTrainAction[Any]:
        """The action whose steps these are. Raises ExecutionError for a context that was made without one."""
        if self.action is None:
            raise ExecutionError(
                "This step belongs to a training, and its context has none.",
                hint="Register it in setup_steps of a BaseTrainAction, or set `action` of the context.",
            )
        return self.action
