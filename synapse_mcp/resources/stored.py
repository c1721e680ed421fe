"""Resources about what the backend and the cluster hold: models and deployments."""

from __future__ import annotations

from synapse_core.home import Home
from synapse_core.models import find_model
from synapse_mcp.settings import Settings
from synapse_mcp.tools.deployments import DeploymentRecord, deployment_record
from synapse_mcp.tools.models import ANSWER_SECONDS, ModelRecord, model_record


def model(home: Home, settings: Settings, id: str) -> ModelRecord:  # noqa: A002  # as the URI calls it
    """A registered model, by its id, name@version, or name for the newest."""
    backend = home.open_backend(deadline_seconds=ANSWER_SECONDS)
    try:
        return model_record(find_model(backend, id))
    finally:
        backend.close()


def deployment(home: Home, settings: Settings, name: str) -> DeploymentRecord:
    """A deployment: state, replicas, url, last probe, errors."""
    return deployment_record(home.deployments.get(name))
