"""Plan: one version of a deployment, as Ray Serve keeps it. Holds no secrets; Serve shows it."""

from __future__ import annotations

from typing import Any

import msgspec

from synapse_core.decoding import converted
from synapse_core.errors import InvalidRequest
from synapse_core.run_folder import Resources

BUILDER = "synapse_core.deployments.replica:build"
# Where a version waits until it has answered, and where one is that goes.
STAGING = "/_staging"
# Small, because a replica that waits for requests needs no core of its own.
DEFAULT_CPUS = 0.1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a deployment.

    name: of the deployment. version: counts from 1. route: where it is to answer. home: of the deployer.
    entrypoint: 'module:Class' of the serve class, found below `root`, or installed where that is None.
    is_decorated: the class brings its own routes. model_folder: where the model's files lie, in the cache of
    the home. options: what `serve.deployment` takes besides.
    """

    name: str
    route: str
    version: int
    home: str
    entrypoint: str
    root: str | None = None
    is_decorated: bool = False
    plugin: str = ""
    model: int | None = None
    model_name: str = ""
    model_record: dict[str, Any] = {}
    model_folder: str | None = None
    profile: str | None = None
    backend_url: str | None = None
    replicas: int | None = None
    resources: Resources = Resources()
    options: dict[str, Any] = {}
    batch: dict[str, float] = {}
    max_models: int | None = None
    requires_token: bool = True
    runtime_env: dict[str, Any] = {}
    run_id: str | None = None
    deployed_at: float = 0.0

    @property
    def application(self) -> str:
        """What Serve calls this version."""
        return f"{self.name}--{self.version}"

    @property
    def staging_route(self) -> str:
        return f"{STAGING}/{self.application}"

    def config(self, route: str) -> dict[str, Any]:
        """Return the application at this route, as Serve's REST API takes it.

        A change of the route alone restarts nothing: Serve compares builder, arguments and runtime_env.
        """
        return {
            "name": self.application,
            "route_prefix": route,
            "import_path": BUILDER,
            "args": msgspec.to_builtins(self),
            "runtime_env": self.runtime_env,
        }


def plan_of(config: dict[str, Any] | None) -> Plan | None:
    """Return the plan of an application that Serve has, None for one that is not ours."""
    if config is None or config.get("import_path") != BUILDER:
        return None
    try:
        return converted(config.get("args"), Plan)
    except msgspec.ValidationError:
        return None  # another Synapse's, whose form is not known here


def checked_route(route: str) -> str:
    """Return a route as Serve takes it. Raises InvalidRequest for one that cannot be used."""
    plain = "/" + route.strip("/")
    if plain == "/" or plain.startswith((STAGING, "/-")) or any(sign in plain for sign in " ?#{}\\"):
        raise InvalidRequest(
            f"{route!r} cannot be the address of a deployment.", hint="Use a path such as '/digits'."
        )
    return plain
