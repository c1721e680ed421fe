"""Workflows in steps: weighted progress, skipping, and rollback of what was done when one fails."""

from synapse_core.steps.base import BaseStep, StepResult
from synapse_core.steps.context import BaseStepContext
from synapse_core.steps.orchestrator import Orchestrator
from synapse_core.steps.registry import StepRegistry
from synapse_core.steps.wrappers import LoggingStep, TimingStep, ValidationStep

__all__ = [
    "BaseStep",
    "BaseStepContext",
    "StepResult",
    "StepRegistry",
    "Orchestrator",
    "LoggingStep",
    "TimingStep",
    "ValidationStep",
]
