"""The switches of the server: one table, read from arguments, the environment and the profile alike.

What a value means for the server is the settings' business.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synapse_core.errors import InvalidRequest, did_you_mean
from synapse_core.profile import Profile

TOOLSETS = ("core", "data", "models", "serve", "author", "publish")

_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off")


@dataclass(frozen=True)
class Switch:
    """One switch. name: as the profile has it. kind: what its value is.

    flag: true or false. choice: one of `choices`. names: texts separated by commas. paths, texts: a list, in
    the environment separated by `:` and by commas, as a switch repeated. text: one text. number: 0 or more.
    """

    name: str
    kind: Literal["flag", "choice", "names", "paths", "texts", "text", "number"]
    about: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return f"SYNAPSE_{self.name.upper()}"

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Make it an argument, None where it is not given."""
        if self.kind == "flag":
            action: Any = argparse.BooleanOptionalAction
            parser.add_argument(self.option, action=action, default=None, help=self.about)
            return
        several = self.kind in ("paths", "texts")
        parser.add_argument(
            self.option,
            action="append" if several else "store",
            metavar=self.metavar or "|".join(self.choices),
            help=f"{self.about}; may be repeated" if several else self.about,
        )

    def read(self, given: Any, profile: Profile) -> Any:
        """Return its value: what is given, else the environment's, else the profile's, else None.

        Raises InvalidRequest, which names the place, for a value that it cannot have.
        """
        if given is not None:
            return self._value(given, self.option)
        if text := os.environ.get(self.variable):
            separated = self.kind in ("paths", "texts")
            parts: Any = text.split(os.pathsep if self.kind == "paths" else ",") if separated else text
            return self._value(parts, self.variable)
        if (found := profile.switches.get(self.name)) is not None:
            return self._value(found, f"{self.name} of the profile {profile.name!r}")
        return None

    def _value(self, value: Any, place: str) -> Any:
        if self.kind == "flag":
            return self._flag(value, place)
        if self.kind == "number":
            return self._number(value, place)
        if self.kind in ("names", "paths", "texts"):
            parts = value.split(",") if isinstance(value, str) else value
            if not isinstance(parts, list | tuple):
                raise InvalidRequest(f"{place} is {value!r}; it should be a list.")
            return tuple(part.strip() for part in map(str, parts) if part.strip())
        # YAML takes a bare `off` for false.
        text = "off" if value is False and "off" in self.choices else str(value)
        if self.choices and text not in self.choices:
            raise InvalidRequest(
                f"{place} is {text!r}.{did_you_mean(text, self.choices)}",
                hint=f"It is one of {', '.join(self.choices)}.",
            )
        return text

    def _flag(self, value: Any, place: str) -> bool:
        text = str(value).strip().lower()
        if text not in (*_YES, *_NO):
            raise InvalidRequest(f"{place} is {value!r}.", hint=f"It is one of {', '.join((*_YES, *_NO))}.")
        return text in _YES

    def _number(self, value: Any, place: str) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number < math.inf or isinstance(value, bool):
            raise InvalidRequest(f"{place} is {value!r}; it should be a number, 0 or more.")
        return number


SWITCHES: tuple[Switch, ...] = (
    Switch("read_only", "flag", "show only the tools that change nothing"),
    Switch(
        "toolsets",
        "names",
        f"which tools are shown: any of {','.join(TOOLSETS)} or all; all but publish by default",
        "NAMES",
    ),
    Switch("tools", "names", "show these tools only, of whatever set", "NAMES"),
    Switch("exclude_tools", "names", "do not show these tools", "NAMES"),
    Switch("allow_path", "paths", "read and write datasets, models and plugins in this folder only", "DIR"),
    Switch("output_schemas", "flag", "show the schema of each tool's result too"),
    Switch(
        "confirm",
        "choice",
        "how a deletion is confirmed: by asking the user where the client can, by a token, or not at all",
        choices=("auto", "token", "off"),
    ),
    Switch("audit", "choice", "whether calls are recorded in audit.jsonl of the home", choices=("on", "off")),
    Switch("otel", "flag", "send OpenTelemetry spans to OTEL_EXPORTER_OTLP_ENDPOINT"),
    Switch("http", "text", "serve over HTTP at this address instead; port 0 takes a free one", "HOST:PORT"),
    Switch("token_file", "text", "who may use the HTTP server, and for what", "FILE"),
    Switch("allowed_host", "texts", "a name by which clients reach the HTTP server", "HOST"),
    Switch("allowed_origin", "texts", "a web page's origin that may use the HTTP server", "ORIGIN"),
    Switch("rate_limit", "number", "requests a second that each HTTP client may make; 0 is no limit", "N"),
)


def read_switches(given: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the value of each switch by its name, None where nobody says anything.

    Raises InvalidRequest for a value that a switch cannot have.
    """
    return {switch.name: switch.read(given.get(switch.name), profile) for switch in SWITCHES}
