"""The tool table: every tool, in the order in which agents see them. A new tool is one line here."""

from __future__ import annotations

from synapse_mcp.boundary import ToolSpec
from synapse_mcp.tools import (
    authoring,
    datasets,
    deployments,
    models,
    pipelines,
    plugins,
    publishing,
    runs,
    status,
)

TOOLS: tuple[ToolSpec, ...] = (
    ToolSpec(status.get_status, "Server status", "core", reads_only=True),
    ToolSpec(plugins.list_plugins, "List plugins", "core", reads_only=True),
    ToolSpec(plugins.describe_plugin, "Describe a plugin", "core", reads_only=True),
    ToolSpec(runs.run_action, "Run an action", "core", reads_only=False, is_open_world=True),
    ToolSpec(pipelines.run_pipeline, "Run a pipeline", "core", reads_only=False, is_open_world=True),
    ToolSpec(runs.get_run, "Get a run", "core", reads_only=True),
    ToolSpec(runs.list_runs, "List runs", "core", reads_only=True),
    ToolSpec(runs.get_run_logs, "Read a run's log", "core", reads_only=True),
    ToolSpec(
        runs.stop_run,
        "Stop a run",
        "core",
        reads_only=False,
        is_destructive=True,
        is_idempotent=True,
        # Its own runs are all that a token without admin can name.
        needs="run",
    ),
    ToolSpec(datasets.inspect_dataset, "Inspect a dataset", "data", reads_only=True),
    ToolSpec(datasets.convert_dataset, "Convert a dataset", "data", reads_only=False),
    ToolSpec(datasets.preview_dataset, "Preview a dataset", "data", reads_only=True),
    ToolSpec(models.list_models, "List models", "models", reads_only=True),
    ToolSpec(models.register_model, "Register a model", "models", reads_only=False, is_idempotent=True),
    ToolSpec(deployments.list_deployments, "List deployments", "serve", reads_only=True),
    ToolSpec(deployments.deploy_model, "Deploy a model", "serve", reads_only=False, is_idempotent=True),
    ToolSpec(deployments.call_deployment, "Call a deployment", "serve", reads_only=False),
    ToolSpec(
        deployments.delete_deployment,
        "Delete a deployment",
        "serve",
        reads_only=False,
        is_destructive=True,
        is_idempotent=True,
    ),
    ToolSpec(authoring.create_plugin, "Create a plugin", "author", reads_only=False),
    ToolSpec(
        publishing.publish_plugin,
        "Publish a plugin",
        "publish",
        reads_only=False,
        is_idempotent=True,
        is_open_world=True,
    ),
)
