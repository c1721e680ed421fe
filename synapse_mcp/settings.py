"""What a server is started with: arguments first, then environment variables, then defaults."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synapse_core import __version__
from synapse_core.environment import default_home


@dataclass(frozen=True)
class Settings:
    """home: where runs are recorded. plugin_paths: searched in order. ray_address: None is our own."""

    home: Path
    plugin_paths: tuple[Path, ...]
    ray_address: str | None = None
    profile: str = "default"

    @classmethod
    def make(cls, plugins: Sequence[str] = (), ray_address: str | None = None) -> Settings:
        """Return the settings for these arguments and the present environment.

        Plugins are searched in the given folders, those of SYNAPSE_PLUGIN_PATHS, the home's `plugins`, and
        last the examples that come with the package.
        """
        home = default_home()
        named = [*plugins, *os.environ.get("SYNAPSE_PLUGIN_PATHS", "").split(os.pathsep)]
        paths = [Path(name).expanduser().resolve() for name in named if name]
        return cls(
            home=home,
            plugin_paths=tuple(dict.fromkeys([*paths, home / "plugins", example_plugins()])),
            ray_address=ray_address or os.environ.get("SYNAPSE_RAY_ADDRESS") or os.environ.get("RAY_ADDRESS"),
        )


def example_plugins() -> Path:
    """Return the folder of the example plugins: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "example_plugins"
    return installed if installed.is_dir() else here.parent / "plugins"


def parse_arguments(arguments: Sequence[str]) -> Settings:
    """Return the settings of `python -m synapse_mcp ARGUMENTS`. Ends the process on a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="python -m synapse_mcp",
        description="Serve Synapse to MCP clients over standard input and output.",
    )
    parser.add_argument("--version", action="version", version=f"synapse-mcp {__version__}")
    parser.add_argument(
        "--plugins", action="append", default=[], metavar="DIR", help="a folder of plugins; may be repeated"
    )
    parser.add_argument(
        "--ray-address", metavar="HOST:PORT", help="a Ray cluster to use instead of a local one"
    )
    given = parser.parse_args(arguments)
    return Settings.make(given.plugins, given.ray_address)
