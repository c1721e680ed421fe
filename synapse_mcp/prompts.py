"""The prompts: what a person picks in a client to have an agent begin something."""

from __future__ import annotations

import json
from typing import Any

from mcp.server.mcpserver import Context

from synapse_core.home import Home
from synapse_core.profile import profile_names
from synapse_mcp.app import App
from synapse_mcp.fencing import fence
from synapse_mcp.guides import guide
from synapse_mcp.lookup import app_of
from synapse_mcp.masking import masked
from synapse_mcp.progress import describe_progress
from synapse_mcp.reading import ReadingServer
from synapse_mcp.settings import Settings

# Of the 1.5 KB of a prompt, what is left beside its guide.
_EXCERPT_CHARS = 320
_MESSAGE_CHARS = 160
_QUOTED_CHARS = 300


def register_prompts(server: ReadingServer) -> None:
    """Add every prompt."""

    @server.prompt(title="Create a plugin")
    def create_plugin(idea: str) -> str:
        """Make a plugin for an idea: written, edited, tested and run."""
        return _asked(f"Create a plugin for this idea: {_quoted(idea)}.", "create_plugin")

    @server.prompt(title="Debug a run")
    async def debug_run(run_id: str, ctx: Context[App, Any]) -> str:
        """Find out why a run failed or hangs, from how it stands now."""
        stands = await app_of(ctx).call(lambda home: _standing(home, run_id))
        return f"Find out what is the matter with a run. Now:\n{stands}\n\n{guide('debug_run')}"

    @server.prompt(title="Convert a dataset")
    def convert_dataset(path: str, to: str) -> str:
        """Look at a dataset, convert it, and say exactly what was lost."""
        return _asked(f"Convert the dataset {_quoted(path)} to {_quoted(to)}.", "convert_dataset")

    @server.prompt(title="Train and deploy a model")
    def train_and_deploy(dataset: str, plugin: str) -> str:
        """Train a model, register it, deploy it, and try it."""
        asked = f"Train a model with the plugin {_quoted(plugin)} on {_quoted(dataset)} and deploy it."
        return _asked(asked, "train_and_deploy")

    @server.prompt(title="Annotate tasks")
    def annotate_tasks(plugin: str) -> str:
        """Put annotations on tasks with a plugin: checked, tried on a few, then on all."""
        return _asked(f"Annotate tasks with the plugin {_quoted(plugin)}.", "annotate_tasks")

    @server.prompt(title="Publish a plugin")
    def publish_plugin(plugin: str) -> str:
        """Make a plugin ready, and publish it into the backend."""
        return _asked(f"Publish the plugin {_quoted(plugin)}.", "publish_plugin")

    @server.prompt(title="Set up Synapse")
    async def setup(ctx: Context[App, Any], profile: str | None = None) -> str:
        """Find out what works here, and repair what does not."""
        app = app_of(ctx)
        return _asked(await app.call(lambda _: _profiles(app.settings, profile)), "setup")


def _asked(task: str, topic: str) -> str:
    return f"{task}\n\n{guide(topic)}"


def _quoted(text: str) -> str:
    """Return a text in quotes: what a person typed, or a path, is data, whatever is written in it."""
    return json.dumps(text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…", ensure_ascii=False)


def _standing(home: Home, run_id: str) -> str:
    """Return how a run stands: its state, its failure, and the end of its log as data."""
    run = home.runs.get(run_id)
    state = f"state={run.state.value} done={str(run.is_done).lower()}"
    lines = [f"run {run_id} {run.plugin}/{run.action} mode={run.mode} {state}"]
    if run.failure is not None:
        lines.append(f"failure [{run.failure.code}]: {_quoted(run.failure.message[:_MESSAGE_CHARS])}")
    elif not run.is_done:
        lines.append(describe_progress(run)[:_MESSAGE_CHARS])
    page = home.runs.log(run_id, tail=20, most_chars=4_000)
    printed = "\n".join(page.lines)[-_EXCERPT_CHARS:]
    if printed:
        lines.append(fence(run_id, printed))
    return masked("\n".join(lines))


def _profiles(settings: Settings, wanted: str | None) -> str:
    """Return what is to be set up, and which profiles there are."""
    in_use = settings.profile.name
    using = f"the profile {_quoted(in_use)}" if in_use else "no profile"
    known = ", ".join(map(_quoted, profile_names()[:5])) or "none"
    task = f"Set Synapse up for the profile {_quoted(wanted)}." if wanted else "Set Synapse up."
    return f"{task} This server uses {using}; there are: {known}."
