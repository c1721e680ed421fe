"""What a server is started with: arguments, its profile, environment variables, defaults, in this order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_core import __version__
from synapse_core.environment import default_home
from synapse_core.errors import InvalidRequest, SynapseError, did_you_mean
from synapse_core.profile import Profile, find_profile
from synapse_core.tracing import require_exporter

if TYPE_CHECKING:
    from synapse_core.home import Home

TOOLSETS = ("core", "data", "models", "serve", "author", "publish")
_TRUE = ("1", "true", "yes", "on")
# What leaves this machine is shown only to who asked for it.
DEFAULT_TOOLSETS = frozenset(name for name in TOOLSETS if name != "publish")


@dataclass(frozen=True)
class Settings:
    """home: where runs are recorded. plugin_paths: searched in order. ray_address: None is our own.

    profile: the user's settings that were chosen. allowed_paths: folders in which datasets are read and
    written; anywhere where there are none. toolsets: which tools are shown. otel: spans are sent.
    """

    home: Path
    plugin_paths: tuple[Path, ...]
    ray_address: str | None = None
    profile: Profile = field(default_factory=Profile)
    allowed_paths: tuple[Path, ...] = ()
    toolsets: frozenset[str] = DEFAULT_TOOLSETS
    otel: bool = False

    @classmethod
    def make(
        cls,
        plugins: Sequence[str] = (),
        ray_address: str | None = None,
        profile: str | None = None,
        allow_paths: Sequence[str] = (),
        toolsets: str | None = None,
        otel: bool = False,
    ) -> Settings:
        """Return the settings for these arguments, the profile and the present environment.

        Plugins are searched in the given folders, the profile's, those of SYNAPSE_PLUGIN_PATHS, the home's
        `plugins`, and last the examples that come with the package.
        Raises InvalidConfig for a profile that is not there or cannot be used.
        """
        if otel := otel or os.environ.get("SYNAPSE_OTEL", "").strip().lower() in _TRUE:
            require_exporter()
        home = default_home()
        chosen = find_profile(profile)
        named = [
            *plugins,
            *map(str, chosen.plugins),
            *os.environ.get("SYNAPSE_PLUGIN_PATHS", "").split(os.pathsep),
        ]
        paths = [Path(name).expanduser().resolve() for name in named if name]
        return cls(
            home=home,
            plugin_paths=tuple(dict.fromkeys([*paths, home / "plugins", example_plugins()])),
            ray_address=ray_address
            or chosen.ray_address
            or os.environ.get("SYNAPSE_RAY_ADDRESS")
            or os.environ.get("RAY_ADDRESS"),
            profile=chosen,
            allowed_paths=tuple(Path(name).expanduser().resolve() for name in allow_paths),
            toolsets=_toolsets(toolsets or os.environ.get("SYNAPSE_TOOLSETS")),
            otel=otel,
        )

    def open_home(self, *, adopts: bool = True) -> Home:
        """Return the home that these settings describe. adopts: see Runs."""
        from synapse_core.home import Home  # 0.3 s that a client which only lists tools need not wait

        return Home(
            self.home,
            self.plugin_paths,
            self.ray_address,
            ray_token_path=self.profile.ray_token_path,
            ray_jobs_url=self.profile.ray_jobs_url,
            profile=self.profile,
            adopts=adopts,
        )


def _toolsets(named: str | None) -> frozenset[str]:
    """Return the sets of a text such as 'core,data', the default ones where there is none."""
    if not named:
        return DEFAULT_TOOLSETS
    chosen = {name.strip() for name in named.split(",") if name.strip()}
    if unknown := sorted(chosen - {*TOOLSETS, "all"}):
        raise InvalidRequest(
            f"There is no toolset {unknown[0]!r}.{did_you_mean(unknown[0], TOOLSETS)}",
            hint=f"Name any of {', '.join(TOOLSETS)}, or all, separated by commas.",
        )
    return frozenset(TOOLSETS if "all" in chosen else chosen)


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
    parser.add_argument("--profile", metavar="NAME", help="settings of a profile in ~/.synapse/config.yaml")
    parser.add_argument(
        "--allow-path",
        action="append",
        default=[],
        metavar="DIR",
        help="read and write datasets in this folder only; may be repeated",
    )
    parser.add_argument(
        "--toolsets",
        metavar="NAMES",
        help=f"which tools are shown: any of {','.join(TOOLSETS)} or all; all but publish by default",
    )
    parser.add_argument(
        "--otel", action="store_true", help="send OpenTelemetry spans to OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    given = parser.parse_args(arguments)
    try:
        return Settings.make(
            given.plugins, given.ray_address, given.profile, given.allow_path, given.toolsets, given.otel
        )
    except SynapseError as error:
        parser.error(f"{error.message} {error.hint or ''}")
