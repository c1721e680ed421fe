"""Models at work: predicting in an action, and deployed on Ray Serve. Importing this imports no Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synapse_core.actions.inference.action import BaseInferenceAction, InferenceProgressCategories
from synapse_core.actions.inference.context import InferenceContext
from synapse_core.actions.inference.deployment import (
    DeploymentContext,
    DeploymentParams,
    DeploymentProgressCategories,
)
from synapse_core.actions.inference.model_token import create_serve_multiplexed_model_id
from synapse_core.actions.inference.serve import BaseServeDeployment

if TYPE_CHECKING:
    from synapse_core.deployments.action import BaseDeploymentAction

__all__ = [
    "BaseInferenceAction",
    "InferenceContext",
    "InferenceProgressCategories",
    "BaseDeploymentAction",
    "BaseServeDeployment",
    "DeploymentContext",
    "DeploymentParams",
    "DeploymentProgressCategories",
    "create_serve_multiplexed_model_id",
]


def __getattr__(name: str) -> Any:
    if name != "BaseDeploymentAction":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It stands on the cluster, which stands below actions: only whoever asks for it needs both.
    from synapse_core.deployments.action import BaseDeploymentAction

    return BaseDeploymentAction
