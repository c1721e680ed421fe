"""RayCluster: the Ray cluster that a home uses, its own local one or one that the user names.

Importing this imports no ray (250 ms and 60 MB); `connect` does.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from synapse_core.errors import InvalidRequest, RayUnavailable
from synapse_core.executors.base import Notify
from synapse_core.executors.ray import gcs
from synapse_core.executors.ray.head import LocalHead

# What a process that connects must have set before its first `import ray`.
DRIVER_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # Seconds. By default Ray's C++ client ends the whole process 60 s after the head died.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "1000000",
        # Ray writes a stack to stderr at every SIGTERM, and stands in the way of our own handler.
        "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
        # A forgotten connect() must fail; by default `.remote()` starts or joins some cluster by itself.
        "RAY_ENABLE_AUTO_CONNECT": "0",
        # "[repeated 11x across cluster]" in place of a run's own lines.
        "RAY_DEDUP_LOGS": "0",
    }
)

_NAMESPACE = "synapse"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):\d{1,5}")
# status() answers within 1.5 s, connect() to a cluster that cannot be used fails within 5 s.
_STATUS_SECONDS = 1.0
_CONNECT_SECONDS = 3.0
# A local head that swaps or computes on all cores is slow, not dead, and its runs are not to be lost.
_LOCAL_CONNECT_SECONDS = 15.0
# Leaving a head that died took up to 15 s.
_LEAVE_SECONDS = 30.0

_OWN_HEAD_IS_SILENT = (
    "It is this home's own cluster: wait if the machine is busy; otherwise end it and all its runs with "
    "`synapse-mcp ray stop`, and the next run on Ray starts a new one."
)

# A process holds one Ray connection, so one thread at a time makes or ends it.
_connection = threading.RLock()


@dataclass(frozen=True)
class ClusterStatus:
    """A cluster at this moment.

    state: not_started means that connect() would start it; unreachable, that connect() would fail.
    address: host:port of its control service (GCS). free_cpus, free_gpus: what no run holds.
    nodes: what each node has, by Ray's names: "CPU", "GPU", "memory" (bytes).
    message: one sentence. fix: the exact next step, None where there is nothing to repair.
    """

    state: Literal["not_started", "running", "unreachable"]
    message: str
    address: str | None = None
    dashboard_url: str | None = None
    cpus: float | None = None
    gpus: float | None = None
    free_cpus: float | None = None
    free_gpus: float | None = None
    nodes: tuple[Mapping[str, float], ...] = ()
    ray_version: str | None = None
    fix: str | None = None


class RayCluster:
    """The Ray cluster of a home.

    address: a cluster that somebody else runs, as host:port; None is the home's own local head, which is
    started when first connected to, outlives this process and is shared by all processes of the home.
    num_cpus: what a local head offers when this process starts it; None is every CPU of the machine.
    Raises InvalidRequest for an address that is not host:port.
    """

    def __init__(self, home: Path, address: str | None = None, *, num_cpus: int | None = None) -> None:
        if address is not None and not _ADDRESS.fullmatch(address):
            raise InvalidRequest(
                f"{address!r} is not the address of a Ray cluster; host:port is, as in 'head.example:6379'.",
                hint="Give the address that `ray start --head` prints, without http:// or ray://.",
            )
        self._address = address
        self._head = LocalHead(home, num_cpus or os.cpu_count() or 1)
        self._joined: str | None = None

    @property
    def is_own(self) -> bool:
        """True for the home's own head, False for a cluster that was named."""
        return self._address is None

    def status(self) -> ClusterStatus:
        """Tell whether the cluster runs, and what it has. Starts nothing; answers in 1.5 s at most."""
        address = self._address
        if address is None:
            head = self._head.record()
            if head is None or not head.is_alive:
                return _not_started(has_died=head is not None)
            address = head.address
        try:
            answer = self._ask(address, _STATUS_SECONDS)
        except RayUnavailable as error:
            return ClusterStatus("unreachable", error.message, address, fix=error.hint)
        return _running(address, answer)

    def connect(self, notify: Notify | None = None) -> ClusterStatus:
        """Connect this process to the cluster and return its status; start a local head where none runs.

        notify: told what is waited for, in the calling thread.
        Does nothing where this process is connected. Connects anew where the head it was connected to died.
        Raises RayUnavailable where the cluster cannot be used, InvalidRequest where this process is
        connected to another one.
        """
        with _connection:
            _prepare_environment()
            address = self._address or self._ensure_head(notify or _say_nothing)
            answer = self._ask(address, _CONNECT_SECONDS if self._address else _LOCAL_CONNECT_SECONDS)
            if _joined_node() not in answer.nodes:
                _leave_dead(address)
                self._join(address, answer)
            self._joined = _joined_address()
            return _running(address, answer)

    def reach(self, notify: Notify | None = None) -> ClusterStatus:
        """Return the status of the cluster, a local head started where none runs. This process stays outside.

        Raises RayUnavailable where the cluster cannot be used.
        """
        address = self._address or self._head.ensure(notify or _say_nothing).address
        answer = self._ask(address, _CONNECT_SECONDS if self._address else _LOCAL_CONNECT_SECONDS)
        return _running(address, answer)

    def tokens(self) -> Sequence[str | None]:
        """Return the tokens to try with this cluster's servers, in their order; None is no token."""
        return self._tokens()

    def node_id(self) -> str:
        """Return the id of the node through which this process is connected. Call connect() first."""
        node = _joined_node()
        assert node is not None, "connect() was called"
        return node

    def disconnect(self) -> None:
        """Let go of the cluster, if this process is connected to it; the cluster goes on."""
        with _connection:
            if self._joined is not None and _joined_address() == self._joined:
                _leave()
            self._joined = None

    def stop(self) -> bool:
        """End the home's own head with everything on it. Returns False where none ran.

        A cluster that was named by its address is not ours to stop: False, and nothing happens.
        """
        if self._address is not None:
            return False
        with _connection:
            # Before the head ends: leaving a dead one takes seconds.
            self.disconnect()
            return self._head.stop()

    def _ensure_head(self, notify: Notify) -> str:
        """Return the address of the home's head, started where none runs."""
        # 0.4 s that pass while a head starts.
        importing = threading.Thread(target=importlib.import_module, args=("ray",), daemon=True)
        importing.start()
        head = self._head.ensure(notify)
        importing.join()
        return head.address

    def _ask(self, address: str, seconds: float) -> gcs.GcsAnswer:
        """Return what the cluster says, which is then one that this process can use."""
        try:
            answer = gcs.ask(address, self._tokens(), seconds)
        except RayUnavailable as error:
            if self._address is not None:
                raise
            raise RayUnavailable(error.message, hint=_OWN_HEAD_IS_SILENT) from error
        ours = version("ray")
        if answer.ray_version != ours:
            raise RayUnavailable(
                f"The Ray cluster at {address} runs Ray {answer.ray_version}, this process has {ours}; both "
                "must be the same.",
                hint=f"Install ray=={answer.ray_version} here and start again."
                if self._address
                else "Stop the local cluster when its runs have ended (`synapse-mcp ray stop`); the next run "
                "starts one of this version.",
            )
        return answer

    def _tokens(self) -> Sequence[str | None]:
        """Return the tokens to try. A named cluster sees ours only if it asks for one."""
        return (self._head.token(),) if self._address is None else (None, _configured_token())

    def _join(self, address: str, answer: gcs.GcsAnswer) -> None:
        if self._address is not None:
            _require_local_node(address, answer)
        _use_token(answer.token, self._head.token_path if self._address is None else None)
        import ray  # after the environment is set; 250 ms and 60 MB

        try:
            ray.init(
                address=gcs.reachable(address),
                namespace=_NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise RayUnavailable(
                f"Ray at {address} answers, but this process could not join it: {error}",
                hint="Both sides need the same Python (to the minor version) and the same Ray.",
            ) from error


def _not_started(has_died: bool) -> ClusterStatus:
    return ClusterStatus(
        "not_started",
        "The local Ray cluster of this home has died; the next run on Ray starts a new one."
        if has_died
        else "No Ray cluster runs for this home; the first run on Ray starts one, in about 10 s.",
    )


def _running(address: str, answer: gcs.GcsAnswer) -> ClusterStatus:
    cpus, gpus = answer.total.get("CPU", 0.0), answer.total.get("GPU", 0.0)
    free_cpus, free_gpus = answer.free.get("CPU", 0.0), answer.free.get("GPU", 0.0)
    gpu_words = f", {free_gpus:g} of {gpus:g} GPUs" if gpus else ", no GPU"
    return ClusterStatus(
        "running",
        f"Ray {answer.ray_version} runs at {address}: {free_cpus:g} of {cpus:g} CPUs free{gpu_words}.",
        address=address,
        dashboard_url=f"http://{answer.dashboard}" if answer.dashboard else None,
        cpus=cpus,
        gpus=gpus,
        free_cpus=free_cpus,
        free_gpus=free_gpus,
        nodes=answer.totals,
        ray_version=answer.ray_version,
    )


def _prepare_environment() -> None:
    for name, value in DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def configured_tokens() -> Sequence[str | None]:
    """Return the tokens to try with a server that was named: it sees the user's only if it asks for one."""
    return (None, _configured_token())


def _configured_token() -> str | None:
    """Return the token that the user set for Ray, in the order in which Ray itself looks."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    return path.read_text().strip() if path.is_file() else None


def _use_token(token: str | None, path: Path | None) -> None:
    """Make Ray use this token from now on.

    path: the file of the home's own token; None leaves where the user's token is to be found as it is.
    """
    os.environ["RAY_AUTH_MODE"] = "token" if token else "disabled"
    if path is not None:
        os.environ.pop("RAY_AUTH_TOKEN", None)  # it would come first
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
    # Ray reads both once, at its import, and `init` with a wrong one only fails after 20 s. It has no public
    # way to read them again.
    raylet = importlib.import_module("ray._raylet")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _joined_node() -> str | None:
    """Return the id of the node through which this process is connected, None where it is not."""
    if "ray" not in sys.modules:
        return None  # asking must not import it
    import ray  # waits for a thread that is just importing it

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else None


def _joined_address() -> str | None:
    """Return the address of the cluster that this process is connected to, None where it is not."""
    if "ray" not in sys.modules:
        return None
    import ray  # waits for a thread that is just importing it

    return gcs.plain(ray.get_runtime_context().gcs_address) if ray.is_initialized() else None


def _leave_dead(address: str) -> None:
    """Let go of the cluster that this process is connected to, which is another than the one wanted.

    Raises InvalidRequest where that one lives: somebody here uses it.
    """
    joined, node = _joined_address(), _joined_node()
    if joined is None:
        return
    try:
        lives = node in gcs.ask(joined, (None, _configured_token()), _CONNECT_SECONDS).nodes
    except gcs.TokenRefused:
        lives = True
    except RayUnavailable:
        lives = False
    if lives:
        raise InvalidRequest(
            f"This process is connected to the Ray cluster at {joined}, and can hold one connection; it "
            f"cannot connect to {address} too.",
            hint="Disconnect from the other cluster first, or use another process.",
        )
    _leave()


def _leave() -> None:
    """End this process's connection. Raises RayUnavailable where Ray does not let go of it."""
    import ray  # it is loaded by now

    leaving = threading.Thread(target=ray.shutdown, name="ray-shutdown", daemon=True)
    leaving.start()
    leaving.join(_LEAVE_SECONDS)
    if leaving.is_alive():
        raise RayUnavailable(
            f"Ray did not let go of a cluster that died within {_LEAVE_SECONDS:.0f} s.",
            hint="Restart this process; runs and their records are not affected.",
        )


def _require_local_node(address: str, answer: gcs.GcsAnswer) -> None:
    """Raise RayUnavailable where this machine is no node of the cluster: `ray.init` would wait for 60 s."""
    if sys.platform == "linux" and not answer.nodes & _local_nodes():
        raise RayUnavailable(
            f"The Ray cluster at {address} has no node on this machine, and a program joins through one.",
            hint=f"Run Synapse on a machine of the cluster, or make this one a node: `ray start "
            f"--address={address}`.",
        )


def _local_nodes() -> set[str]:
    """Return the node ids of the raylets on this machine."""
    nodes = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _raylet_node(entry)):
            nodes.add(found)
    return nodes


def _raylet_node(process: Path) -> str | None:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if Path(os.fsdecode(arguments[0])).name != "raylet":
        return None
    return next((one.partition(b"=")[2].decode() for one in arguments if one.startswith(b"--node_id=")), None)


def _say_nothing(message: str) -> None:
    """Take a message that nobody waits for."""
