"""The table of resources: facts that can be read without calling a tool, by code or id, never by path."""

from __future__ import annotations

from synapse_mcp.reading import ReadingServer, ResourceSpec
from synapse_mcp.resources import plugins, runs, server, stored

_TEXT, _LINES, _PICTURE = "text/markdown", "text/plain", "image/png"
_HOUR = 3_600.0

RESOURCES: tuple[ResourceSpec, ...] = (
    ResourceSpec("synapse://status", "Status", server.status),
    ResourceSpec("synapse://guides", "Guides", server.guides, ttl_seconds=_HOUR, is_public=True),
    ResourceSpec("synapse://formats", "Dataset formats", server.formats, ttl_seconds=_HOUR, is_public=True),
    ResourceSpec(
        "synapse://schemas", "Schemas of the answers", server.schemas, ttl_seconds=_HOUR, is_public=True
    ),
    ResourceSpec("synapse://guides/{topic}", "Guide", server.guide_of, _TEXT, _HOUR, is_public=True),
    ResourceSpec("synapse://plugins/{code}", "Plugin", plugins.plugin),
    ResourceSpec(
        "synapse://plugins/{code}/actions/{action}/schema", "Schema of an action", plugins.action_schema
    ),
    ResourceSpec("synapse://runs/{run_id}", "Run", runs.run),
    ResourceSpec("synapse://runs/{run_id}/log", "Log of a run", runs.log, _LINES),
    ResourceSpec("synapse://runs/{run_id}/events", "Events of a run", runs.events),
    ResourceSpec("synapse://runs/{run_id}/metrics.png", "Metric curves of a run", runs.metrics, _PICTURE),
    # Read by the page of a run, not by a model.
    ResourceSpec("synapse://runs/{run_id}/charts", "Points of the curves", runs.charts, most_chars=1_000_000),
    ResourceSpec("synapse://models/{id}", "Model", stored.model),
    ResourceSpec("synapse://deployments/{name}", "Deployment", stored.deployment),
    ResourceSpec("skill://{skill}/SKILL.md", "Skill", server.skill, _TEXT, _HOUR, is_public=True),
    ResourceSpec(
        "skill://{skill}/references/{file}",
        "File of a skill",
        server.skill_file,
        _TEXT,
        _HOUR,
        is_public=True,
    ),
)


def register_resources(reading: ReadingServer) -> None:
    """Add every resource of the table."""
    reading.resource_table.extend(RESOURCES)
