"""Deployment of a registered classifier."""

from __future__ import annotations

from synapse_core.actions.inference import BaseDeploymentAction, DeploymentParams


class DeployAction(BaseDeploymentAction[DeploymentParams]):
    """Put a registered classifier behind an address: POST …/predict {"inputs": [scan, …]}."""

    entrypoint = "plugin.serve:DigitsServe"
