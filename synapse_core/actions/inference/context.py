"""What the steps of an inference share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_core.errors import NoBackend
from synapse_core.steps import BaseStepContext

if TYPE_CHECKING:
    from synapse_core.backend import Backend


@dataclass
class InferenceContext(BaseStepContext):
    """The state of an inference workflow.

    params: the action's parameters as plain values. model: what `load_model` gave. model_path: its folder.
    requests: what is to be predicted; results: the predictions, in the same order.
    """

    params: dict[str, Any] = field(default_factory=dict)
    model_id: int | None = None
    model: dict[str, Any] | None = None
    model_path: str | None = None
    requests: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    batch_size: int = 1
    processed_count: int = 0

    @property
    def client(self) -> Backend:
        """The backend. Raises NoBackend where there is none."""
        if self.runtime_ctx.client is None:
            raise NoBackend("The inference")
        client: Backend = self.runtime_ctx.client
        return client
