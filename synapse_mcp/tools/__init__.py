"""The tool table: every tool, in the order in which agents see them. A new tool is one line here."""

from __future__ import annotations

from synapse_mcp.boundary import ToolSpec
from synapse_mcp.tools import (
    authoring,
    datasets,
    deployments,
    guides,
    models,
    pipelines,
    plots,
    plugins,
    publishing,
    runs,
    status,
)

TOOLS: tuple[ToolSpec, ...] = (
    ToolSpec(status.get_status, "Status", "core", reads_only=True),
    ToolSpec(plugins.list_plugins, "Plugins", "core", reads_only=True),
    ToolSpec(plugins.describe_plugin, "Describe plugin", "core", reads_only=True),
    ToolSpec(runs.run_action, "Run action", "core", reads_only=False, is_open_world=True),
    ToolSpec(pipelines.run_pipeline, "Run pipeline", "core", reads_only=False, is_open_world=True),
    ToolSpec(runs.get_run, "Run", "core", reads_only=True),
    ToolSpec(runs.list_runs, "Runs", "core", reads_only=True),
    ToolSpec(runs.get_run_logs, "Run log", "core", reads_only=True),
    ToolSpec(
        runs.stop_run,
        "Stop run",
        "core",
        reads_only=False,
        is_destructive=True,
        is_idempotent=True,
        # Its own runs are all that a token without admin can name.
        needs="run",
    ),
    ToolSpec(plots.plot_run, "Plot run", "core", reads_only=True),
    ToolSpec(datasets.inspect_dataset, "Inspect dataset", "data", reads_only=True),
    ToolSpec(datasets.convert_dataset, "Convert dataset", "data", reads_only=False),
    ToolSpec(datasets.preview_dataset, "Preview dataset", "data", reads_only=True),
    ToolSpec(models.list_models, "Models", "models", reads_only=True),
    ToolSpec(models.register_model, "Register model", "models", reads_only=False, is_idempotent=True),
    ToolSpec(deployments.list_deployments, "Deployments", "serve", reads_only=True),
    ToolSpec(deployments.deploy_model, "Deploy model", "serve", reads_only=False, is_idempotent=True),
    ToolSpec(deployments.call_deployment, "Call deployment", "serve", reads_only=False),
    ToolSpec(
        deployments.delete_deployment,
        "Delete deployment",
        "serve",
        reads_only=False,
        is_destructive=True,
        is_idempotent=True,
    ),
    ToolSpec(authoring.create_plugin, "Create plugin", "author", reads_only=False),
    ToolSpec(guides.get_guide, "Guide", "author", reads_only=True),
    ToolSpec(
        publishing.publish_plugin,
        "Publish plugin",
        "publish",
        reads_only=False,
        is_idempotent=True,
        is_open_world=True,
    ),
)
