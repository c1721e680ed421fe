"""Deployments: the models that answer requests, whoever deployed them: listed, called and taken away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from synapse_core.actions.inference.model_token import create_serve_multiplexed_model_id, home_secret
from synapse_core.deployments.calls import Answer, send
from synapse_core.deployments.plan import Plan
from synapse_core.deployments.rollout import kept_configs, own_words, until_gone
from synapse_core.deployments.serve_server import Served, ServeServer
from synapse_core.errors import BackendError, DeploymentNotFound, DeploymentUnavailable, NotFound
from synapse_core.executors.ray.cluster import RayCluster

if TYPE_CHECKING:
    from synapse_core.backend import Backend, ServeApplication

_TOKEN_SECONDS = 3600.0

State = Literal["running", "starting", "unhealthy", "failed", "gone"]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment as it stands.

    state: gone means that it is recorded and no longer on the cluster. replicas: how many answer, and how
    many there are to be. error: the replica's own words. coming: a version that is being rolled out.
    probe: when it answered a request that tried it last (seconds since 1970), and in how many seconds.
    """

    name: str
    state: State
    version: int | None = None
    url: str | None = None
    replicas: int = 0
    replicas_wanted: int = 0
    model: int | None = None
    model_name: str = ""
    plugin: str = ""
    run_id: str | None = None
    deployed_at: float | None = None
    probe: dict[str, Any] = {}
    error: str | None = None
    last_failure: dict[str, Any] = {}
    coming: int | None = None
    requires_token: bool = True
    home: str = ""

    @property
    def mark(self) -> str:
        """What tells this very state of the deployment, for whoever confirms its end."""
        told = f"delete\0{self.name}\0{self.version}\0{self.replicas_wanted}\0{self.deployed_at}"
        return hashlib.sha256(told.encode()).hexdigest()[:12]


class Deployments:
    """What is deployed on a home's cluster. The truth is what Serve says; the backend remembers the rest.

    open_backend: gives the backend, in which deployments are recorded.
    """

    def __init__(self, home: Path, cluster: RayCluster, open_backend: Callable[[], Backend]) -> None:
        self._home = home
        self._server = ServeServer(cluster)
        self._open_backend = open_backend

    def list(self) -> list[Deployment]:
        """Return them by name. Raises RayUnavailable where the cluster runs and does not answer."""
        applications = self._server.applications() if self._server.is_there() else {}
        records = self._records()
        plans = [each.plan for each in applications.values()]
        names = {plan.name for plan in plans if plan} | set(records)
        return [self._told(name, applications, records.get(name)) for name in sorted(names)]

    def get(self, name: str) -> Deployment:
        """Raises DeploymentNotFound naming the nearest ones."""
        deployments = self.list()
        for each in deployments:
            if each.name == name:
                return each
        raise DeploymentNotFound(name, [each.name for each in deployments])

    def call(self, name: str, inputs: Sequence[Any] | None, timeout_seconds: float = 30.0) -> Answer:
        """Return what a deployment answers. Raises what `send` does, and DeploymentNotFound.

        inputs: None has it answer for its own samples.
        """
        deployment = self.get(name)
        if deployment.url is None:
            raise DeploymentUnavailable(
                f"{name!r} is recorded, and not on the cluster any more: that has been started anew since.",
                hint="Deploy the model again with deploy_model.",
            )
        token = ""
        if deployment.requires_token:
            token = create_serve_multiplexed_model_id(
                deployment.model or "",
                audience=name,
                secret=home_secret(Path(deployment.home or self._home)),
                valid_seconds=_TOKEN_SECONDS,
            )
        return send(deployment.url, None if inputs is None else [*inputs], token, timeout_seconds)

    def delete(self, name: str) -> Deployment:
        """Take a deployment away, when what it is answering is answered. Returns it as it was."""
        deployment = self.get(name)
        if deployment.state != "gone":
            _take_away(self._server, name)
        backend = self._open_backend()
        try:
            for record in backend.list_serve_applications({"name": name}):
                with suppress(NotFound):  # somebody else deletes it too
                    backend.delete_serve_application(record.id)
        finally:
            backend.close()
        return deployment

    def _records(self) -> dict[str, ServeApplication]:
        """Return what the backend remembers of this home's deployments; nothing where it cannot be asked."""
        backend = self._open_backend()
        try:
            return {
                each.name: each
                for each in backend.list_serve_applications()
                if each.data.get("home") == str(self._home)
            }
        except BackendError:
            return {}  # Serve tells what matters
        finally:
            backend.close()

    def _told(
        self, name: str, applications: dict[str, Served], record: ServeApplication | None
    ) -> Deployment:
        mine = [each for each in applications.values() if each.plan and each.plan.name == name]
        live = next((each for each in mine if each.is_live), None)
        coming = [each.plan.version for each in mine if each is not live and each.plan]
        data = {} if record is None else record.data
        if live is None or live.plan is None:
            return Deployment(
                name=name,
                state="starting" if coming else "gone",
                model=None if record is None else record.model,
                model_name=str(data.get("model_name", "")),
                plugin=str(data.get("plugin", "")),
                run_id=data.get("run_id"),
                coming=max(coming, default=None),
                home=str(self._home),
            )
        return _of(live, live.plan, self._server.url, data, max(coming, default=None))


def _take_away(server: ServeServer, name: str) -> None:
    """Take every version of a deployment away, and wait until what they are answering is answered."""
    gone: list[str] = []

    def work(applications: dict[str, Served]) -> list[dict[str, Any]]:
        mine = [each.plan for each in applications.values() if each.plan and each.plan.name == name]
        gone.extend(plan.application for plan in mine)
        return kept_configs(applications, without=mine)

    server.change(work)
    until_gone(server, gone, lambda: None)


def _of(live: Served, plan: Plan, url: str, data: dict[str, Any], coming: int | None) -> Deployment:
    wanted = sum(each.target_num_replicas for each in live.deployments.values())
    state = _state(live, wanted)
    probe = data.get("probe") if data.get("version") == plan.version else None
    return Deployment(
        name=plan.name,
        state=state,
        version=plan.version,
        url=url + plan.route,
        replicas=live.running,
        replicas_wanted=wanted,
        model=plan.model,
        model_name=plan.model_name,
        plugin=plan.plugin,
        run_id=plan.run_id,
        deployed_at=plan.deployed_at,
        probe=probe or {},
        error=own_words(live.words) or None if state in ("failed", "unhealthy") else None,
        last_failure=data.get("last_failure") or {},
        coming=coming,
        requires_token=plan.requires_token,
        home=plan.home,
    )


def _state(live: Served, wanted: int) -> State:
    if live.status == "DEPLOY_FAILED":
        return "failed"
    if live.status == "RUNNING" and live.running >= wanted:
        return "running"
    if live.status == "UNHEALTHY" or live.running:
        return "unhealthy"
    return "starting"
