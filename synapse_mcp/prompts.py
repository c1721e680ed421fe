"""The prompts: what a person picks in a client to have an agent begin something."""

from __future__ import annotations

import json

from mcp.server import MCPServer

from synapse_mcp.app import App
from synapse_mcp.guides import guide


def register_prompts(server: MCPServer[App]) -> None:
    """Add every prompt."""

    @server.prompt(title="Convert a dataset")
    def convert_dataset(path: str, to: str) -> str:
        """Look at a dataset, convert it, and say exactly what was lost."""
        # Quoted: a path is data, whatever is written in it.
        return f"Convert the dataset {json.dumps(path)} to {json.dumps(to)}.\n\n{guide('convert_dataset')}"

    @server.prompt(title="Train and deploy a model")
    def train_and_deploy(dataset: str, plugin: str) -> str:
        """Train a model, register it, deploy it, and try it."""
        asked = f"Train a model with the plugin {json.dumps(plugin)} on {json.dumps(dataset)} and deploy it."
        return f"{asked}\n\n{guide('train_and_deploy')}"

    @server.prompt(title="Create a plugin")
    def create_plugin(idea: str) -> str:
        """Make a plugin for an idea: written, edited, tested and run."""
        return f"Create a plugin for this idea: {json.dumps(idea)}.\n\n{guide('create_plugin')}"
