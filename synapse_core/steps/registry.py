"""The ordered steps of one workflow."""

from __future__ import annotations

from typing import Generic

from synapse_core.steps.base import BaseStep, C


class StepRegistry(Generic[C]):
    """Steps in the order in which they run; every name is unique."""

    def __init__(self) -> None:
        self._steps: list[BaseStep[C]] = []

    def register(self, step: BaseStep[C]) -> None:
        """Add a step at the end. Raises ValueError where its name is taken."""
        self._insert(len(self._steps), step)

    def unregister(self, name: str) -> None:
        """Remove the step of this name; nothing happens where there is none."""
        self._steps = [step for step in self._steps if step.name != name]

    def insert_before(self, name: str, step: BaseStep[C]) -> None:
        """Add a step right before the named one. Raises ValueError where there is none of that name."""
        self._insert(self._index(name), step)

    def insert_after(self, name: str, step: BaseStep[C]) -> None:
        """Add a step right after the named one. Raises ValueError where there is none of that name."""
        self._insert(self._index(name) + 1, step)

    def get_steps(self) -> list[BaseStep[C]]:
        """Return a copy of the steps, in order."""
        return list(self._steps)

    @property
    def total_weight(self) -> float:
        """The sum of all weights; it need not be 1."""
        return sum(step.progress_weight for step in self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __bool__(self) -> bool:
        return bool(self._steps)

    def _insert(self, index: int, step: BaseStep[C]) -> None:
        if any(present.name == step.name for present in self._steps):
            raise ValueError(f"There is a step {step.name!r} already; names are unique in a workflow.")
        self._steps.insert(index, step)

    def _index(self, name: str) -> int:
        for index, step in enumerate(self._steps):
            if step.name == name:
                return index
        present = ", ".join(step.name for step in self._steps) or "none"
        raise ValueError(f"There is no step {name!r}; the steps are {present}.")
