"""This process's one connection to Ray: what must be set before, joining a cluster, leaving it.

Importing this imports no ray (250 ms and 60 MB); `join` does.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from synapse_core.errors import InvalidRequest, RayUnavailable
from synapse_core.executors.ray import gcs

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
# How long the cluster that this process is connected to is asked whether it lives.
_ASK_SECONDS = 3.0
# Leaving a head that died took up to 15 s.
_LEAVE_SECONDS = 30.0

# A process holds one Ray connection, so one thread at a time makes or ends it.
connection = threading.RLock()


def prepare_environment() -> None:
    for name, value in DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def own_excepthook() -> Iterator[None]:
    """Keep this process's way of telling an uncaught exception.

    The import of Ray replaces it by one that asks the cluster to note the exception: with a dead cluster the
    process would hang instead of ending.
    """
    excepthook = sys.excepthook
    try:
        yield
    finally:
        sys.excepthook = excepthook


def configured_token() -> str | None:
    """Return the token that the user set for Ray, in the order in which Ray itself looks."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    return path.read_text().strip() if path.is_file() else None


def read_token(path: Path) -> str:
    """Return the token of a file that was named. Raises RayUnavailable where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise RayUnavailable(
            f"The file {path}, which is to hold the Ray cluster's token, cannot be read: {error.strerror}.",
            hint="Correct ray_token_path of the profile, or put the token there, readable by you alone.",
        ) from error


def _use_token(token: str | None, path: Path | None) -> None:
    """Make Ray use this token from now on.

    path: the file that holds it; None leaves where the user's token is to be found as it is.
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


def join(address: str, answer: gcs.GcsAnswer, token_path: Path | None, *, is_named: bool) -> None:
    """Connect this process to a cluster that has answered.

    token_path: the file that holds its token; None is where Ray itself would look.
    is_named: the cluster is somebody's own, of which this machine may be no node.
    Raises RayUnavailable where this process cannot join it.
    """
    if is_named:
        _require_local_node(address, answer)
    _use_token(answer.token, token_path)
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
            hint="Try again: its node here may just have died. Where it stays so, both sides need the same "
            "Python (to the minor version) and the same Ray.",
        ) from error


def joined_node() -> str | None:
    """Return the id of the node through which this process is connected, None where it is not."""
    if "ray" not in sys.modules:
        return None  # asking must not import it
    import ray  # waits for a thread that is just importing it

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else None


def joined_address() -> str | None:
    """Return the address of the cluster that this process is connected to, None where it is not."""
    if "ray" not in sys.modules:
        return None
    import ray  # waits for a thread that is just importing it

    return gcs.plain(ray.get_runtime_context().gcs_address) if ray.is_initialized() else None


def leave_dead(address: str) -> None:
    """Let go of the cluster that this process is connected to, which is another than the one wanted.

    Raises InvalidRequest where that one lives: somebody here uses it.
    """
    joined, node = joined_address(), joined_node()
    if joined is None:
        return
    try:
        lives = node in gcs.ask(joined, (None, configured_token()), _ASK_SECONDS).nodes
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
    leave()


def leave() -> None:
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
