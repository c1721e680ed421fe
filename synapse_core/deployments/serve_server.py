"""Ray Serve on a home's cluster, through its REST API: what is deployed, and changing it.

Source: Ray's documentation, "Serve REST API", release 2.60. The API takes the whole list of applications;
what is not in it is taken away. So every change is made under a lock: read, change, write.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec

from synapse_core.decoding import decoded
from synapse_core.deployments.plan import Plan, plan_of
from synapse_core.errors import InvalidRequest, RayUnavailable
from synapse_core.executors.base import Notify
from synapse_core.executors.ray.cluster import RayCluster
from synapse_core.executors.ray.job_server import JobServer

_PATH = "/api/serve/applications/"
# The first call makes the cluster load Serve, the first change start it: some 2 s each on an idle machine.
_ASK_SECONDS = 60.0
_CHANGE_SECONDS = 120.0
_LOCK_SECONDS = 180.0
_LOOK_SECONDS = 0.05


class ServedReplica(msgspec.Struct, frozen=True):
    state: str = ""
    pid: int | None = None


class ServedDeployment(msgspec.Struct, frozen=True):
    status: str = ""
    status_trigger: str = ""
    message: str = ""
    target_num_replicas: int = 0
    replicas: list[ServedReplica] = []


class Served(msgspec.Struct, frozen=True):
    """An application. status: NOT_STARTED, DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY or DELETING."""

    name: str
    status: str
    route_prefix: str | None = None
    message: str = ""
    source: str = ""
    deployed_app_config: dict[str, Any] | None = None
    deployments: dict[str, ServedDeployment] = {}

    @property
    def plan(self) -> Plan | None:
        return plan_of(self.deployed_app_config)

    @property
    def is_live(self) -> bool:
        """True where it answers, or is to answer, at the address of its deployment."""
        plan = self.plan
        route = None if self.deployed_app_config is None else self.deployed_app_config.get("route_prefix")
        return plan is not None and route == plan.route

    @property
    def running(self) -> int:
        """How many replicas answer."""
        return sum(
            replica.state == "RUNNING" for each in self.deployments.values() for replica in each.replicas
        )

    @property
    def has_failed(self) -> bool:
        """True where a replica could not be started, or the application could not be built."""
        return self.status in ("DEPLOY_FAILED", "UNHEALTHY") or any(
            each.status_trigger == "REPLICA_STARTUP_FAILED" and each.status != "HEALTHY"
            for each in self.deployments.values()
        )

    @property
    def words(self) -> str:
        """What Serve and the replicas say of a failure, with its traceback; empty where all is well."""
        return "\n".join(filter(None, [*(each.message for each in self.deployments.values()), self.message]))


class _HttpOptions(msgspec.Struct, frozen=True):
    host: str = "127.0.0.1"
    port: int = 0


class _Details(msgspec.Struct, frozen=True):
    applications: dict[str, Served] = {}
    http_options: _HttpOptions | None = None
    proxies: dict[str, Any] = {}


class ServeServer:
    """Serve on a cluster. Every call raises RayUnavailable where it cannot be reached."""

    def __init__(self, cluster: RayCluster, notify: Notify = lambda _: None) -> None:
        self._cluster = cluster
        self._notify = notify
        self._server: JobServer | None = None
        self._http: _HttpOptions | None = None

    def start(self) -> None:
        """Start the home's own cluster where none runs."""
        url = self._cluster.reach(self._notify).dashboard_url
        self._use(url)

    def is_there(self) -> bool:
        """Return False where the home's cluster was not started, so that nothing can be deployed.

        Raises RayUnavailable for a cluster that runs and cannot be reached.
        """
        status = self._cluster.status()
        if status.state == "unreachable":
            raise RayUnavailable(status.message, hint=status.fix)
        if status.state == "not_started":
            return False
        self._use(status.dashboard_url)
        return True

    def applications(self) -> dict[str, Served]:
        """Return the applications by name."""
        return self._details().applications

    @property
    def url(self) -> str:
        """Where the deployments answer."""
        http = self._http or self._details().http_options or _HttpOptions()
        host = http.host
        if host in ("0.0.0.0", "::", ""):
            host = urlsplit(self._reached().url).hostname or "127.0.0.1"
        return f"http://{host}:{http.port}"

    def change(self, work: Callable[[dict[str, Served]], list[dict[str, Any]]]) -> None:
        """Replace the applications by what `work` makes of them; nobody else changes them meanwhile.

        work: returns the configs of all that is to be there. Routes are changed in their order: one that is
        left comes before the one that takes it. Raises InvalidRequest where Serve refuses.
        """
        with self._alone():
            details = self._details()
            wanted = work(details.applications)
            http = details.http_options
            is_running = bool(details.proxies) and http is not None
            if not is_running:
                http = _HttpOptions(port=self._free_port())
            body = {
                "proxy_location": "HeadOnly" if self._cluster.is_own else "EveryNode",
                "http_options": msgspec.to_builtins(http),
                "applications": wanted,
            }
            status, answer = self._reached().call("PUT", _PATH, msgspec.json.encode(body), _CHANGE_SECONDS)
            if status == 400:
                raise InvalidRequest(f"Ray Serve refuses: {answer.decode(errors='replace')[-800:]}")
            if status != 200:
                raise RayUnavailable(
                    f"Ray Serve could not be changed ({status}): {answer.decode(errors='replace')[-500:]}",
                    hint="Try again; if it stays so, read the logs of the cluster's dashboard.",
                )
            self._http = http
            self._remember(http)

    def _details(self) -> _Details:
        status, answer = self._reached().call("GET", _PATH, None, _ASK_SECONDS)
        if status != 200:
            raise RayUnavailable(
                f"Ray Serve did not tell what is there ({status}): {answer.decode(errors='replace')[-500:]}",
                hint="Try again; if it stays so, read the logs of the cluster's dashboard.",
            )
        details = decoded(answer, _Details)
        if details.proxies:
            self._http = details.http_options
        return details

    def _use(self, url: str | None) -> None:
        if url is None:
            raise RayUnavailable(
                "The Ray cluster runs without its dashboard, through which models are deployed.",
                hint="Start its head with `ray start --head --include-dashboard=true`.",
            )
        if self._server is None or self._server.url != url.rstrip("/"):
            self._server = JobServer(url, self._cluster.tokens)
            self._http = None

    def _reached(self) -> JobServer:
        if self._server is None and not self.is_there():
            raise RayUnavailable("No Ray cluster runs for this home.", hint="Deploying a model starts one.")
        assert self._server is not None, "it is there"
        return self._server

    def _free_port(self) -> int:
        """Return the port that this home used last, where it is free, so that addresses stay."""
        wanted = 0
        if self._port_file.is_file():
            wanted = int(self._port_file.read_text() or 0)
        for port in (wanted, 0):
            try:
                with socket.create_server(("127.0.0.1", port)) as free:
                    return int(free.getsockname()[1])
            except OSError:
                continue  # somebody else has it by now
        raise RayUnavailable("No port of 127.0.0.1 is free.", hint="End programs that listen on many.")

    def _remember(self, http: _HttpOptions | None) -> None:
        if http is not None:
            self._port_file.write_text(str(http.port))

    @property
    def _port_file(self) -> Any:
        return self._cluster.folder / "serve.port"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread of one process of this machine at a time change what is deployed."""
        self._cluster.folder.mkdir(parents=True, exist_ok=True)
        path = self._cluster.folder / "serve.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RayUnavailable(
                            f"Another process has held {path} for {_LOCK_SECONDS:.0f} s.",
                            hint="Find that process (`fuser` or `lsof` on the file), end it, then try again.",
                        ) from None
                    time.sleep(_LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)
