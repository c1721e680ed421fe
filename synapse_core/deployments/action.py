"""BaseDeploymentAction: a registered model becomes an address that answers."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
from pydantic import BaseModel

from synapse_core.actions.inference.deployment import (
    DeploymentContext,
    DeploymentParams,
    DeploymentProgressCategories,
)
from synapse_core.actions.inference.model_token import create_serve_multiplexed_model_id, home_secret
from synapse_core.actions.model_files import model_folder
from synapse_core.base_action import BaseAction
from synapse_core.config import CONFIG_NAME, PluginConfig, load_config
from synapse_core.deployments.calls import send
from synapse_core.deployments.capacity import check_room
from synapse_core.deployments.code import keep_code
from synapse_core.deployments.plan import DEFAULT_CPUS, Plan, checked_route
from synapse_core.deployments.rollout import Outcome, Rollout
from synapse_core.deployments.serve_server import ServeServer
from synapse_core.enums import PluginCategory
from synapse_core.environment import default_home
from synapse_core.errors import BackendError, DeploymentFailed, ExecutionError, NoBackend
from synapse_core.executors.ray.cluster import RayCluster
from synapse_core.executors.ray.connection import joined_address
from synapse_core.executors.ray.requirements import packages_env
from synapse_core.profile import find_profile
from synapse_core.run_folder import Packages, Resources

if TYPE_CHECKING:
    from synapse_core.backend import Backend

P = TypeVar("P")
_PROBE_SECONDS = 60.0


class BaseDeploymentAction(BaseAction[P]):
    """Deploys `entrypoint`, a BaseServeDeployment, on Ray Serve: name the class and the action is complete.

    A version only takes over when it has answered a live request; until then, and where it never does, the
    one before serves on.

    entrypoint: the class, or 'module:Class', which does not import it here.
    """

    category: ClassVar[PluginCategory | str | None] = PluginCategory.NEURAL_NET
    params_model: ClassVar[type[BaseModel] | None] = DeploymentParams
    progress = DeploymentProgressCategories
    entrypoint: ClassVar[Any] = None

    def execute(self) -> dict[str, Any]:
        """Deploy, probe and register. Returns what was deployed, and where it answers."""
        self.set_progress(0, 1, self.progress.INITIALIZE)
        self.ray_init()
        self.set_progress(1, 1, self.progress.INITIALIZE)
        name, application = self.deploy()
        self.register_serve_application(name, application)
        return self.get_result_of_deployment()

    @property
    def client(self) -> Backend:
        """The backend. Raises NoBackend where there is none."""
        if self.ctx.client is None:
            raise NoBackend(type(self).__name__)
        client: Backend = self.ctx.client
        return client

    def ray_init(self, **_: Any) -> None:
        """Reach the cluster, the home's own one started where none runs. Raises RayUnavailable."""
        self._server.start()

    def deploy(self, deployment_class: Any = None, route_prefix: str | None = None) -> tuple[str, int]:
        """Roll a new version out. Returns the deployment's name and the id of its record in the backend.

        deployment_class: in place of `entrypoint`. route_prefix: in place of `get_route_prefix()`.
        Raises DeploymentFailed with the replica's own words, InvalidRequest for what the cluster does not
        have, before anything changes, and Conflict where the address belongs to another deployment.
        """
        served = self._class_of(deployment_class if deployment_class is not None else self.entrypoint)
        plan = self._plan(served, route_prefix)
        server = self._server
        server.start()
        check_room(plan, self._cluster.reach(), server.applications())
        probes = self.get_probe_inputs(served)
        self.set_progress(0, 1, self.progress.DEPLOY)
        rollout = Rollout(
            server,
            plan,
            lambda url: self._ask(url, plan, probes),
            self.ctx.raise_if_stopped,
            self.log_message,
        )
        try:
            self._outcome = rollout.run()
        except DeploymentFailed as error:
            self._note_failure(plan, error)
            raise
        self.set_progress(1, 1, self.progress.DEPLOY)
        return plan.name, self._record()

    def register_serve_application(self, app_name: str | None = None, app_id: int | None = None) -> int:
        """Return the id of the deployment's record in the backend, which `deploy` has made or changed.

        app_name, app_id: what `deploy` returned.
        """
        self.set_progress(0, 1, self.progress.REGISTER)
        found = self._record() if app_id is None else app_id
        self.set_progress(1, 1, self.progress.REGISTER)
        return found

    def get_result_of_deployment(self) -> dict[str, Any]:
        """Return what was deployed: name, version, url, model, replicas, what it replaced, and the probe."""
        outcome = self._deployed()
        plan = outcome.plan
        return {
            "deployment": plan.name,
            "version": plan.version,
            "url": outcome.url,
            "model": plan.model,
            "model_name": plan.model_name,
            "replicas": plan.replicas or 1,
            "replaced": outcome.replaced,
            "probe": {"seconds": round(outcome.probe_seconds, 4), "inputs": self._probed},
        }

    def get_serve_app_name(self) -> str:
        """Return the name: the parameter, SYNAPSE_PLUGIN_RELEASE_CODE, or the plugin's code."""
        named = self._param("name") or self.ctx.env.get_str("SYNAPSE_PLUGIN_RELEASE_CODE")
        return str(named or (self._config.code if self._config else type(self).__name__))

    def get_route_prefix(self) -> str:
        """Return where it is to answer: SYNAPSE_PLUGIN_RELEASE_CHECKSUM, or the name."""
        return self.ctx.env.get_str("SYNAPSE_PLUGIN_RELEASE_CHECKSUM") or self.get_serve_app_name()

    def get_ray_actor_options(self) -> dict[str, Any]:
        """Return what each replica holds: num_cpus, num_gpus, memory (bytes)."""
        cpus = self._param("num_cpus")
        options = {
            "num_cpus": DEFAULT_CPUS if cpus is None else cpus,
            "num_gpus": self._param("num_gpus") or 0,
            "memory": self._param("memory"),
        }
        return {name: value for name, value in options.items() if value is not None}

    def get_serve_options(self) -> dict[str, Any]:
        """Return what `serve.deployment` takes besides: the action's serve_options of config.yaml.

        `batch` (max_batch_size, batch_wait_timeout_s) and `max_models` of it are ours.
        """
        config = self._config
        entry = None if config is None else config.actions.get(self.action_name or "")
        return {} if entry is None else dict(entry.serve_options)

    def get_runtime_env(self) -> dict[str, Any]:
        """Return Ray's runtime_env for the replicas: what of requirements.txt is not installed already."""
        if self._root is None or self._config is None:
            return {}
        config = self._config
        packages = Packages(
            config.package_manager.value, tuple(config.package_manager_options), wheels_dir=config.wheels_dir
        )
        return packages_env(self._root, packages, skip_satisfied=True)

    def get_probe_inputs(self, served: Any) -> Sequence[Any] | None:
        """Return what a new version is asked; None has it ask itself its class's `sample_inputs`."""
        return list(_plain_class(served).sample_inputs) if _is_decorated(served) else None

    def create_context(self) -> DeploymentContext:
        """Return the context that steps share."""
        params = self.params
        plain = (
            params.model_dump()
            if isinstance(params, BaseModel)
            else dict(params)
            if isinstance(params, Mapping)
            else {}
        )
        return DeploymentContext(
            self.ctx,
            params=plain,
            model_id=plain.get("model"),
            serve_app_name=self.get_serve_app_name(),
            route_prefix=self.get_route_prefix(),
            ray_actor_options=self.get_ray_actor_options(),
            serve_options=self.get_serve_options(),
        )

    def _class_of(self, named: Any) -> Any:
        """Return the serve class, what `serve.deployment` made of it, or 'module:Class'."""
        if named is None:
            raise ExecutionError(
                f"{type(self).__name__} does not say what to deploy.",
                hint="Set entrypoint = 'plugin.serve:MyServeDeployment' on the class.",
            )
        return named

    def _plan(self, served: Any, route_prefix: str | None) -> Plan:
        name = self.get_serve_app_name()
        options = self.get_serve_options()
        batch, max_models = options.pop("batch", {}), options.pop("max_models", None)
        held = {key: value for key, value in self.get_ray_actor_options().items() if value}
        model_id = self._param("model")
        model = None if model_id is None else self.client.get_model(model_id)
        # Fetched once, here: replicas find the files, and start without the backend.
        folder = None if model is None else model_folder(self.client, model, self.ctx.raise_if_stopped)
        home = default_home().resolve()
        profile = find_profile()
        return Plan(
            name=name,
            route=checked_route(route_prefix or self.get_route_prefix()),
            version=1,
            home=str(home),
            entrypoint=_entrypoint_of(served),
            root=None if self._root is None else str(keep_code(self._root, home)),
            is_decorated=_is_decorated(served),
            plugin="" if self._config is None else self._config.code,
            model=model_id,
            model_name="" if model is None else f"{model.name}@{model.version}",
            model_record=msgspec.to_builtins(model) if model is not None else {},
            model_folder=None if folder is None else str(folder),
            profile=profile.name,
            backend_url=profile.backend_url or os.environ.get("SYNAPSE_HOST") or None,
            replicas=self._param("replicas"),
            resources=Resources(held.get("num_cpus", 0.0), held.get("num_gpus"), held.get("memory")),
            options=options,
            batch=batch,
            max_models=max_models,
            requires_token=self._param("requires_token") is not False,
            runtime_env=self.get_runtime_env(),
            run_id=self.ctx.job_id,
            deployed_at=round(time.time(), 3),
        )

    def _ask(self, url: str, plan: Plan, inputs: Sequence[Any] | None) -> float:
        """Return in how many seconds the version at `url` answered."""
        token = ""
        if plan.requires_token:
            secret = home_secret(Path(plan.home))
            token = create_serve_multiplexed_model_id(plan.model or "", audience=plan.name, secret=secret)
        answer = send(url, None if inputs is None else [*inputs], token, _PROBE_SECONDS)
        self._probed = len(answer.results)
        return answer.seconds

    def _record(self) -> int:
        """Have the backend remember the deployment as it is now. Returns its id."""
        outcome = self._deployed()
        plan = outcome.plan
        data = {
            **_about(plan),
            "version": plan.version,
            "url": outcome.url,
            "probe": {"at": round(time.time(), 3), "seconds": round(outcome.probe_seconds, 4)},
        }
        job = self.ctx.job_id
        return self.client.create_serve_application(
            plan.name, job=job, model=plan.model, status="RUNNING", data=data
        ).id

    def _note_failure(self, plan: Plan, error: DeploymentFailed) -> None:
        """Have the backend remember why a version did not take over, beside what serves."""
        failure = {
            "version": error.details.get("version"),
            "model": plan.model,
            "message": error.message,
            "at": round(time.time(), 3),
        }
        with suppress(BackendError):  # the failure itself is what has to be told
            known = list(self.client.list_serve_applications({"name": plan.name}))
            if known:
                data = {**known[0].data, "last_failure": failure}
                self.client.create_serve_application(plan.name, status=known[0].status, data=data)

    def _deployed(self) -> Outcome:
        if self._outcome is None:
            raise ExecutionError(
                f"{type(self).__name__} has deployed nothing yet.", hint="Call self.deploy() first."
            )
        return self._outcome

    _outcome: Outcome | None = None
    _probed: int = 0

    @cached_property
    def _cluster(self) -> RayCluster:
        """The cluster that this process works on, or the one that the profile names, or the home's own."""
        home, profile = default_home(), find_profile()
        own = RayCluster(home)
        address = joined_address() or profile.ray_address or os.environ.get("SYNAPSE_RAY_ADDRESS")
        if address is None or own.status().address == address:
            return own
        return RayCluster(home, address, token_path=profile.ray_token_path, jobs_url=profile.ray_jobs_url)

    @cached_property
    def _server(self) -> ServeServer:
        return ServeServer(self._cluster, self.log_message)

    @cached_property
    def _root(self) -> Path | None:
        """The plugin's folder: the one with a config.yaml above this class; None for an installed one."""
        file = Path(inspect.getfile(type(self))).resolve()
        return next((folder for folder in file.parents if (folder / CONFIG_NAME).is_file()), None)

    @cached_property
    def _config(self) -> PluginConfig | None:
        return None if self._root is None else load_config(self._root).config

    def _param(self, name: str) -> Any:
        if isinstance(self.params, BaseModel):
            return getattr(self.params, name, None)
        return self.params.get(name) if isinstance(self.params, Mapping) else None


def _entrypoint_of(served: Any) -> str:
    if isinstance(served, str):
        return served
    plain = _plain_class(served)
    return f"{plain.__module__}:{plain.__qualname__}"


def _is_decorated(served: Any) -> bool:
    return hasattr(served, "func_or_class")


def _plain_class(served: Any) -> Any:
    """Return the class itself where `serve.deployment` was put around it."""
    return getattr(served, "func_or_class", served)


def _about(plan: Plan) -> dict[str, Any]:
    return {
        "home": plan.home,
        "application": plan.application,
        "route": plan.route,
        "model_name": plan.model_name,
        "plugin": plan.plugin,
        "run_id": plan.run_id,
        "replicas": plan.replicas,
    }
