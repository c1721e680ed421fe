"""What a server is started with: arguments, its profile, environment variables, defaults, in this order.

A profile is a table of `profiles.toml` in the home:

    [lab]
    ray_address = "head.example:6379"
    ray_token_path = "~/lab.token"
    ray_jobs_url = "http://head.example:8265"
    plugins = ["~/plugins"]
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_core import __version__
from synapse_core.environment import default_home
from synapse_core.errors import InvalidConfig, SynapseError, did_you_mean

if TYPE_CHECKING:
    from synapse_core.home import Home


_PROFILE_KEYS = ("ray_address", "ray_token_path", "ray_jobs_url", "plugins")


@dataclass(frozen=True)
class Settings:
    """home: where runs are recorded. plugin_paths: searched in order. ray_address: None is our own.

    ray_token_path, ray_jobs_url: a file with the token of that cluster, and its job server. allowed_paths:
    folders in which datasets are read and written; anywhere where there are none.
    """

    home: Path
    plugin_paths: tuple[Path, ...]
    ray_address: str | None = None
    ray_token_path: Path | None = None
    ray_jobs_url: str | None = None
    profile: str = "default"
    allowed_paths: tuple[Path, ...] = ()

    @classmethod
    def make(
        cls,
        plugins: Sequence[str] = (),
        ray_address: str | None = None,
        profile: str | None = None,
        allow_paths: Sequence[str] = (),
    ) -> Settings:
        """Return the settings for these arguments, the profile and the present environment.

        Plugins are searched in the given folders, the profile's, those of SYNAPSE_PLUGIN_PATHS, the home's
        `plugins`, and last the examples that come with the package.
        Raises InvalidConfig for a profile that is not there or cannot be used.
        """
        home = default_home()
        profile = profile or os.environ.get("SYNAPSE_PROFILE") or None
        chosen = {} if profile is None else _read_profile(home / "profiles.toml", profile)
        token = chosen.get("ray_token_path")
        named = [
            *plugins,
            *chosen.get("plugins", []),
            *os.environ.get("SYNAPSE_PLUGIN_PATHS", "").split(os.pathsep),
        ]
        paths = [Path(name).expanduser().resolve() for name in named if name]
        return cls(
            home=home,
            plugin_paths=tuple(dict.fromkeys([*paths, home / "plugins", example_plugins()])),
            ray_address=ray_address
            or chosen.get("ray_address")
            or os.environ.get("SYNAPSE_RAY_ADDRESS")
            or os.environ.get("RAY_ADDRESS"),
            ray_token_path=None if token is None else Path(token).expanduser(),
            ray_jobs_url=chosen.get("ray_jobs_url"),
            profile=profile or "default",
            allowed_paths=tuple(Path(name).expanduser().resolve() for name in allow_paths),
        )

    def open_home(self, *, adopts: bool = True) -> Home:
        """Return the home that these settings describe. adopts: see Runs."""
        from synapse_core.home import Home  # 0.3 s that a client which only lists tools need not wait

        return Home(
            self.home,
            self.plugin_paths,
            self.ray_address,
            ray_token_path=self.ray_token_path,
            ray_jobs_url=self.ray_jobs_url,
            adopts=adopts,
        )


def _read_profile(file: Path, name: str) -> dict[str, Any]:
    """Return a profile's entries. Raises InvalidConfig that names the file and the key."""
    try:
        profiles = tomllib.loads(file.read_text())
    except FileNotFoundError:
        profiles = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"{file} cannot be read: {error}") from error
    profile = profiles.get(name)
    if not isinstance(profile, dict):
        raise InvalidConfig(
            f"{file} has no profile {name!r}.{did_you_mean(name, profiles)}",
            hint=f"Add a table [{name}] with any of {', '.join(_PROFILE_KEYS)}, or start without --profile.",
        )
    for key, value in profile.items():
        if key not in _PROFILE_KEYS:
            raise InvalidConfig(f"{file}: {name}.{key} is no setting.{did_you_mean(key, _PROFILE_KEYS)}")
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not (is_list if key == "plugins" else isinstance(value, str)):
            kind = "a list of texts" if key == "plugins" else "a text"
            raise InvalidConfig(f"{file}: {name}.{key} should be {kind}.")
    return profile


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
    parser.add_argument(
        "--profile", metavar="NAME", help="settings from a table of profiles.toml in the home"
    )
    parser.add_argument(
        "--allow-path",
        action="append",
        default=[],
        metavar="DIR",
        help="read and write datasets in this folder only; may be repeated",
    )
    given = parser.parse_args(arguments)
    try:
        return Settings.make(given.plugins, given.ray_address, given.profile, given.allow_path)
    except SynapseError as error:
        parser.error(f"{error.message} {error.hint or ''}")
