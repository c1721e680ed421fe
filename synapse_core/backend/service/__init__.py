"""A backend served over the REST API that HttpBackend speaks: `python -m synapse_core.backend.service`."""

from synapse_core.backend.service.app import create_app
from synapse_core.backend.service.serving import Service

__all__ = ["Service", "create_app"]
