"""What a deployment is asked for, and under which names it reports. BaseDeploymentAction deploys it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from synapse_core.actions.inference.context import InferenceContext

if TYPE_CHECKING:
    from synapse_core.deployments.action import BaseDeploymentAction

__all__ = ["BaseDeploymentAction", "DeploymentContext", "DeploymentParams", "DeploymentProgressCategories"]


class DeploymentProgressCategories:
    """Under which names a deployment reports its progress."""

    INITIALIZE = "initialize"
    DEPLOY = "deploy"
    REGISTER = "register"


class DeploymentParams(BaseModel):
    """What to deploy, and on what. A plugin may add parameters of its own in a subclass."""

    model_config = ConfigDict(protected_namespaces=())

    # What a training returns is model_id.
    model: int | None = Field(
        default=None,
        ge=1,
        validation_alias=AliasChoices("model", "model_id"),
        description="The id of the registered model",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}$",
        description="The deployment's name, and its address; the plugin's code by default",
    )
    replicas: int = Field(default=1, ge=1, le=100, description="How many processes answer requests")
    num_cpus: float = Field(default=0.1, ge=0, description="CPUs that each replica holds")
    num_gpus: float = Field(default=0, ge=0, description="GPUs that each replica holds")
    memory: int | None = Field(default=None, ge=1, description="Bytes of memory that each replica holds")
    requires_token: bool = Field(default=True, description="Refuse requests without a token of this home")


@dataclass
class DeploymentContext(InferenceContext):
    """The state of a deployment that is done in steps."""

    serve_app_name: str | None = None
    serve_app_id: int | None = None
    route_prefix: str | None = None
    ray_actor_options: dict[str, Any] = field(default_factory=dict)
    serve_options: dict[str, Any] = field(default_factory=dict)
    deployed: bool = False


def __getattr__(name: str) -> Any:
    if name != "BaseDeploymentAction":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It stands on the cluster, which stands below actions: only whoever asks for it needs both.
    from synapse_core.deployments.action import BaseDeploymentAction

    return BaseDeploymentAction
