"""The dashboard: a page to look at, served from this machine.

It reads runs, models, deployments and datasets, and changes none of them.
"""

from synapse_mcp.dashboard.app import create_app
from synapse_mcp.dashboard.serving import Service

__all__ = ["Service", "create_app"]
