"""Models deployed on Ray Serve: rolled out, listed, called, deleted. Importing this imports no Ray."""

from synapse_core.deployments.calls import Answer
from synapse_core.deployments.deployments import Deployment, Deployments

__all__ = ["Answer", "Deployment", "Deployments"]
