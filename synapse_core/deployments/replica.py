"""What Ray Serve runs of ours: the builder of an application, and the class of its replicas."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from synapse_core.decoding import converted
from synapse_core.deployments.plan import Plan

if TYPE_CHECKING:
    from synapse_core.actions.inference.serve import BaseServeDeployment

# How long requests that are being answered may go on in a version that is taken away.
_DRAIN_SECONDS = 30.0
# How soon a replica that was killed is missed, and another one started.
_LOOK_SECONDS = 1.0
_DRAIN_LOOK_SECONDS = 0.1


def build(arguments: Mapping[str, Any]) -> Any:
    """Return the Serve application of a plan. Serve calls this on the cluster."""
    from ray import serve  # on the cluster, where it is loaded

    plan = converted(dict(arguments), Plan)
    if plan.is_decorated:
        # It brings its own routes, which Serve ties to its class: only it can make the application.
        deployment = load_class(plan)
        bound = (plan.backend_url,) if plan.backend_url else ()
    else:
        deployment = serve.deployment(serve.ingress()(Replica))
        bound = (msgspec.to_builtins(plan),)
    return deployment.options(**_options(plan)).bind(*bound)


class Replica:
    """One process that serves a plugin's class. It imports the plugin itself; Serve does not."""

    async def __init__(self, arguments: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        plan = converted(arguments, Plan)
        os.environ.update(environment_of(plan))
        found = load_class(plan)
        if not isinstance(found, type):
            raise TypeError(
                f"{plan.entrypoint} is decorated; pass the class itself: self.deploy(deployment_class=…)"
            )
        self._served: BaseServeDeployment = found(*filter(None, [plan.backend_url]))
        await self._served.prepare()

    def __serve_build_asgi_app__(self) -> Any:
        """Return the routes. Serve calls this once the constructor is through."""
        from synapse_core.actions.inference.ingress import build_app  # fastapi, which replicas have loaded

        return build_app(self._served)


def environment_of(plan: Plan) -> dict[str, str]:
    """Return what makes a process one of the deployer's home."""
    from synapse_core.actions.inference.serve import SETTINGS_VARIABLE, ServeSettings  # not to build

    settings = ServeSettings(
        name=plan.name,
        home=plan.home,
        model=plan.model,
        record=plan.model_record,
        folder=plan.model_folder,
        profile=plan.profile,
        requires_token=plan.requires_token,
        batch=plan.batch,
        max_models=plan.max_models,
    )
    return {"SYNAPSE_HOME": plan.home, SETTINGS_VARIABLE: msgspec.json.encode(settings).decode()}


def load_class(plan: Plan) -> Any:
    """Return the serve class of a plan, imported from the plugin's folder."""
    module_name, _, name = plan.entrypoint.partition(":")
    if plan.root is not None:
        from synapse_core.discovery import make_importable  # not to build

        make_importable(Path(plan.root), module_name)
    found: Any = importlib.import_module(module_name)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _options(plan: Plan) -> dict[str, Any]:
    asked = plan.resources
    actor: dict[str, Any] = {"num_cpus": asked.num_cpus or 0, "num_gpus": asked.num_gpus or 0}
    if asked.memory:
        actor["memory"] = asked.memory
    if plan.is_decorated:
        # Serve makes its replicas of a copy of the class, whose modules have to be found.
        actor["runtime_env"] = {"env_vars": environment_of(plan)}
        if plan.root is not None:
            actor["runtime_env"]["working_dir"] = f"local://{plan.root}"
    options: dict[str, Any] = {
        "name": "model",
        "ray_actor_options": actor,
        "health_check_period_s": _LOOK_SECONDS,
        "graceful_shutdown_timeout_s": _DRAIN_SECONDS,
        "graceful_shutdown_wait_loop_s": _DRAIN_LOOK_SECONDS,
        **plan.options,
    }
    if plan.replicas is not None:
        options["num_replicas"] = plan.replicas
    return options
