"""Errors about models that are deployed, and calls of them."""

from __future__ import annotations

from collections.abc import Sequence

from synapse_core.errors.base import (
    InvalidRequest,
    NotFound,
    SynapseError,
    Unavailable,
    did_you_mean,
    nearest,
)
from synapse_core.errors.plugins import ExecutionError


class DeploymentNotFound(NotFound):
    """No deployment has this name."""

    code = "unknown_deployment"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no deployment {name!r}.{did_you_mean(name, known)}",
            {"asked": name, "nearest": nearest(name, known) or list(known[:3])},
            hint="list_deployments() shows what is deployed.",
        )


class DeploymentFailed(ExecutionError):
    """A version did not start or did not answer its probe, and was taken away again."""

    code = "deployment_failed"


class ModelLoadError(ExecutionError):
    """A model's files are there, and the plugin could not make a model of them."""

    code = "model_load_failed"


class InferenceFailed(ExecutionError):
    """The deployment was reached, and its code failed at this request."""

    code = "inference_failed"


class InputsRejected(InvalidRequest):
    """The deployment does not take these inputs."""

    code = "inputs_rejected"


class InvalidModelToken(SynapseError):
    """A request without a token, or with one that is forged, expired or made for something else."""

    code = "invalid_token"


class DeploymentUnavailable(Unavailable):
    """The deployment is recorded or starting, and does not answer."""

    code = "deployment_unavailable"
