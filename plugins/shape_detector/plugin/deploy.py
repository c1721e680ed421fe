"""Deployment of a registered detector."""

from __future__ import annotations

from pydantic import AliasChoices, Field

from synapse_core.actions.inference import BaseDeploymentAction, DeploymentParams


class DeployParams(DeploymentParams):
    """What to deploy, and on what."""

    model: int = Field(
        ge=1,
        validation_alias=AliasChoices("model", "model_id"),
        description="The id of the registered model",
    )


class DeployAction(BaseDeploymentAction[DeployParams]):
    """Put a registered detector behind an address: POST …/predict {"inputs": [{"image": base64}, …]}."""

    entrypoint = "plugin.serve:ShapesServe"
    params_model = DeployParams
