"""What a server is started with: arguments, environment variables, its profile, defaults, in this order.

Two differ: the address of Ray comes from the profile before the environment, the folders of plugins from all.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_core import __version__
from synapse_core.environment import default_home
from synapse_core.errors import InvalidRequest, SynapseError, did_you_mean
from synapse_core.profile import Profile, find_profile
from synapse_core.tracing import require_exporter
from synapse_mcp.http.binding import HttpBinding
from synapse_mcp.switches import SWITCHES, TOOLSETS, read_switches

if TYPE_CHECKING:
    from synapse_core.home import Home

# What leaves this machine is shown only to who asked for it.
DEFAULT_TOOLSETS = frozenset(name for name in TOOLSETS if name != "publish")


@dataclass(frozen=True)
class Settings:
    """home: where runs are recorded. plugin_paths: searched in order. ray_address: None is our own.

    profile: the user's settings that were chosen. allowed_paths: folders in which datasets are read and
    written; anywhere where there are none. toolsets: which tools are shown; tools: these only, whatever their
    set; exclude_tools: but not these; read_only: but only those that change nothing.
    output_schemas: whether the list shows the schemas of results. confirm: how deletions are confirmed: auto,
    token or off. audits: whether calls are recorded. http: None is standard input and output.
    otel: whether spans are sent.
    active: the switches that somebody has set, in words.
    """

    home: Path
    plugin_paths: tuple[Path, ...]
    ray_address: str | None = None
    profile: Profile = field(default_factory=Profile)
    allowed_paths: tuple[Path, ...] = ()
    toolsets: frozenset[str] = DEFAULT_TOOLSETS
    tools: tuple[str, ...] = ()
    exclude_tools: tuple[str, ...] = ()
    read_only: bool = False
    output_schemas: bool = False
    confirm: str = "auto"
    audits: bool = True
    http: HttpBinding | None = None
    active: tuple[str, ...] = ()
    otel: bool = False

    @classmethod
    def make(
        cls,
        plugins: Sequence[str] = (),
        ray_address: str | None = None,
        profile: str | None = None,
        allow_paths: Sequence[str] | None = None,
        toolsets: str | None = None,
        **switches: Any,
    ) -> Settings:
        """Return the settings for these arguments, the present environment and the profile.

        Plugins are searched in the given folders, the profile's, those of SYNAPSE_PLUGIN_PATHS, the home's
        `plugins`, and last the examples that come with the package.
        switches: others of `synapse_mcp.switches`, by name.
        Raises InvalidConfig for a profile that is not there or cannot be used; InvalidRequest for a switch
        that cannot have its value.
        """
        home = default_home()
        chosen = find_profile(profile)
        named = [
            *plugins,
            *map(str, chosen.plugins),
            *os.environ.get("SYNAPSE_PLUGIN_PATHS", "").split(os.pathsep),
        ]
        paths = [Path(name).expanduser().resolve() for name in named if name]
        given = {"allow_path": allow_paths or None, "toolsets": toolsets, **switches}
        values = read_switches(given, chosen)
        if values["otel"]:
            require_exporter()
        http = HttpBinding.of_switches(values)
        roots = [Path(name).expanduser().resolve() for name in values["allow_path"] or ()]
        if http is not None:
            roots.append(home)  # who comes over the network gets no further than that
        return cls(
            home=home,
            plugin_paths=tuple(dict.fromkeys([*paths, home / "plugins", example_plugins()])),
            ray_address=ray_address
            or chosen.ray_address
            or os.environ.get("SYNAPSE_RAY_ADDRESS")
            or os.environ.get("RAY_ADDRESS"),
            profile=chosen,
            allowed_paths=tuple(roots),
            toolsets=_toolsets(values["toolsets"]),
            tools=values["tools"] or (),
            exclude_tools=values["exclude_tools"] or (),
            read_only=bool(values["read_only"]),
            output_schemas=bool(values["output_schemas"]),
            confirm=values["confirm"] or "auto",
            audits=values["audit"] != "off",
            http=http,
            otel=bool(values["otel"]),
            active=_in_words(values),
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


def _toolsets(named: Sequence[str] | None) -> frozenset[str]:
    """Return the sets of these names, the default ones where there is none."""
    if not named:
        return DEFAULT_TOOLSETS
    if unknown := sorted({*named} - {*TOOLSETS, "all"}):
        raise InvalidRequest(
            f"There is no toolset {unknown[0]!r}.{did_you_mean(unknown[0], TOOLSETS)}",
            hint=f"Name any of {', '.join(TOOLSETS)}, or all, separated by commas.",
        )
    return frozenset(TOOLSETS if "all" in named else named)


def _in_words(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the switches that are set, in short. Where tokens lie is not an agent's business."""
    told = []
    for name, value in values.items():
        if value is None or value is False or value == () or name == "token_file":
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        told.append(name if value is True else f"{name}={text}"[:100])
    return tuple(told)


def example_plugins() -> Path:
    """Return the folder of the example plugins: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "example_plugins"
    return installed if installed.is_dir() else here.parent / "plugins"


def parse_arguments(arguments: Sequence[str]) -> Settings:
    """Return the settings of `python -m synapse_mcp ARGUMENTS`. Ends the process on a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="python -m synapse_mcp",
        description="Serve Synapse to MCP clients, over standard input and output or over HTTP.",
    )
    parser.add_argument("--version", action="version", version=f"synapse-mcp {__version__}")
    parser.add_argument(
        "--plugins", action="append", default=[], metavar="DIR", help="a folder of plugins; may be repeated"
    )
    parser.add_argument(
        "--ray-address", metavar="HOST:PORT", help="a Ray cluster to use instead of a local one"
    )
    parser.add_argument("--profile", metavar="NAME", help="settings of a profile in ~/.synapse/config.yaml")
    for switch in SWITCHES:
        switch.add_to(parser)
    given = vars(parser.parse_args(arguments))
    given["allow_paths"] = given.pop("allow_path")
    try:
        return Settings.make(**given)
    except SynapseError as error:
        parser.error(f"{error.message} {error.hint or ''}")
