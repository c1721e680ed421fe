"""RayCluster: the Ray cluster that a home uses, its own local one or one that the user names.

Importing this imports no ray (250 ms and 60 MB); `connect` does.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from synapse_core.errors import InvalidRequest, RayUnavailable
from synapse_core.executors.base import Notify
from synapse_core.executors.ray import gcs
from synapse_core.executors.ray.connection import (
    configured_token,
    connection,
    join,
    joined_address,
    joined_node,
    leave,
    leave_dead,
    own_excepthook,
    prepare_environment,
    read_token,
)
from synapse_core.executors.ray.head import HeadRecord, LocalHead

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):\d{1,5}")
# status() of a named cluster answers within 1.5 s, connect() to one that cannot be used fails within 5 s.
_STATUS_SECONDS = 1.0
_CONNECT_SECONDS = 3.0
# The home's own head, whose processes live, is busy and not gone.
_OWN_STATUS_SECONDS = 5.0
# A local head that swaps or computes on all cores is slow, not dead, and its runs are not to be lost.
_LOCAL_CONNECT_SECONDS = 15.0
# What the home's own head has said is believed for so long while its processes live: asking takes 6 ms, and
# what a run needs to know, the size of its nodes, does not change.
_BELIEVED_SECONDS = 1.0
_OWN_HEAD_IS_SILENT = (
    "It is this home's own cluster: wait if the machine is busy; otherwise end it and all its runs with "
    "`synapse-mcp ray stop`, and the next run on Ray starts a new one."
)


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
    token_path: a file with the token of a named cluster; None is where Ray itself would look.
    jobs_url: the job server of a named cluster, where it is not the one that the cluster tells.
    Raises InvalidRequest for an address that is not host:port.
    """

    def __init__(
        self,
        home: Path,
        address: str | None = None,
        *,
        num_cpus: int | None = None,
        token_path: Path | None = None,
        jobs_url: str | None = None,
    ) -> None:
        if address is not None and not _ADDRESS.fullmatch(address):
            raise InvalidRequest(
                f"{address!r} is not the address of a Ray cluster; host:port is, as in 'head.example:6379'.",
                hint="Give the address that `ray start --head` prints, without http:// or ray://.",
            )
        self._address = address
        self._token_path = token_path
        self._jobs_url = jobs_url
        self._head = LocalHead(home, num_cpus or os.cpu_count() or 1)
        self._joined: str | None = None
        self._told: _Told | None = None

    @property
    def is_own(self) -> bool:
        """True for the home's own head, False for a cluster that was named."""
        return self._address is None

    def status(self) -> ClusterStatus:
        """Tell whether the cluster runs, and what it has. Starts nothing; answers in 1.5 s at most.

        The home's own head is given 5 s while its processes live.
        """
        address, head = self._address, None
        if address is None:
            head = self._head.record()
            if head is None or not head.is_alive:
                return _not_started(has_died=head is not None)
            address = head.address
        try:
            answer = self._ask(address, _OWN_STATUS_SECONDS if self.is_own else _STATUS_SECONDS)
        except RayUnavailable as error:
            return ClusterStatus("unreachable", error.message, address, fix=error.hint)
        return self._told_by(head, address, answer)

    def recent_status(self) -> ClusterStatus:
        """Return the status; of the home's own head, while this process is connected to it, one that may be
        a second old: the sizes are true, what is free may have changed."""
        return self._believed() or self.status()

    def connect(self, notify: Notify | None = None) -> ClusterStatus:
        """Connect this process to the cluster and return its status; start a local head where none runs.

        notify: told what is waited for, in the calling thread.
        Does nothing where this process is connected; the status may then be the recent one. Connects anew
        where the head it was connected to died.
        Raises RayUnavailable where the cluster cannot be used, InvalidRequest where this process is
        connected to another one.
        """
        with connection, own_excepthook():
            if (believed := self._believed()) is not None:
                return believed
            prepare_environment()
            head, address = None, self._address
            if address is None:
                head = self._ensure_head(notify or _say_nothing)
                address = head.address
            answer = self._ask(address, _CONNECT_SECONDS if self._address else _LOCAL_CONNECT_SECONDS)
            if joined_node() not in answer.nodes:
                leave_dead(address)
                token_path = self._token_path if self._address else self._head.token_path
                join(address, answer, token_path, is_named=self._address is not None)
            self._joined = joined_address()
            return self._told_by(head, address, answer)

    @property
    def folder(self) -> Path:
        """The folder of the home in which everything about its clusters is."""
        return self._head.folder

    @property
    def wanted(self) -> Path:
        """A file of the home that is touched while runs wait for a worker, so that idle ones make room."""
        return self._head.folder / "wanted"

    def reach(self, notify: Notify | None = None) -> ClusterStatus:
        """Return the status of the cluster, a local head started where none runs. This process stays outside.

        Raises RayUnavailable where the cluster cannot be used.
        """
        address = self._address or self._head.ensure(notify or _say_nothing).address
        answer = self._ask(address, _CONNECT_SECONDS if self._address else _LOCAL_CONNECT_SECONDS)
        return _running(address, answer, self._jobs_url)

    def node_id(self) -> str:
        """Return the id of the node through which this process is connected. Call connect() first."""
        node = joined_node()
        assert node is not None, "connect() was called"
        return node

    def disconnect(self) -> None:
        """Let go of the cluster, if this process is connected to it; the cluster goes on."""
        with connection:
            if self._joined is not None and joined_address() == self._joined:
                leave()
            self._joined = None

    def stop(self) -> bool:
        """End the home's own head with everything on it. Returns False where none ran.

        A cluster that was named by its address is not ours to stop: False, and nothing happens.
        """
        if self._address is not None:
            return False
        with connection:
            # Before the head ends: leaving a dead one takes seconds.
            self.disconnect()
            return self._head.stop()

    def _told_by(self, head: HeadRecord | None, address: str, answer: gcs.GcsAnswer) -> ClusterStatus:
        """Return the status, kept for a moment where this process is connected to the home's own head."""
        status = _running(address, answer, self._jobs_url)
        if head is not None and self._joined is not None and joined_node() in answer.nodes:
            self._told = _Told(head, status, time.monotonic())
        return status

    def _believed(self) -> ClusterStatus | None:
        """Return what the home's own head said a moment ago, None where it has to be asked."""
        told = self._told
        if told is None or time.monotonic() - told.at > _BELIEVED_SECONDS:
            return None
        is_same = told.head.is_alive and self._joined is not None and joined_address() == self._joined
        return told.status if is_same else None

    def _ensure_head(self, notify: Notify) -> HeadRecord:
        """Return the home's head, started where none runs."""
        # 0.4 s that pass while a head starts.
        importing = threading.Thread(target=importlib.import_module, args=("ray",), daemon=True)
        importing.start()
        head = self._head.ensure(notify)
        importing.join()
        return head

    def _ask(self, address: str, seconds: float) -> gcs.GcsAnswer:
        """Return what the cluster says, which is then one that this process can use."""
        try:
            answer = gcs.ask(address, self.tokens(), seconds)
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

    def tokens(self) -> Sequence[str | None]:
        """Return the tokens to try; None is no token. A named cluster sees ours only if it asks for one."""
        if self._address is None:
            return (self._head.token(),)
        return (None, configured_token() if self._token_path is None else read_token(self._token_path))


@dataclass(frozen=True)
class _Told:
    """What a head said. at: when, on the monotonic clock."""

    head: HeadRecord
    status: ClusterStatus
    at: float


def _not_started(has_died: bool) -> ClusterStatus:
    return ClusterStatus(
        "not_started",
        "The local Ray cluster of this home has died; the next run on Ray starts a new one."
        if has_died
        else "No Ray cluster runs for this home; the first run on Ray starts one, in about 10 s.",
    )


def _running(address: str, answer: gcs.GcsAnswer, jobs_url: str | None) -> ClusterStatus:
    cpus, gpus = answer.total.get("CPU", 0.0), answer.total.get("GPU", 0.0)
    free_cpus, free_gpus = answer.free.get("CPU", 0.0), answer.free.get("GPU", 0.0)
    gpu_words = f", {free_gpus:g} of {gpus:g} GPUs" if gpus else ", no GPU"
    return ClusterStatus(
        "running",
        f"Ray {answer.ray_version} runs at {address}: {free_cpus:g} of {cpus:g} CPUs free{gpu_words}.",
        address=address,
        dashboard_url=jobs_url or (f"http://{answer.dashboard}" if answer.dashboard else None),
        cpus=cpus,
        gpus=gpus,
        free_cpus=free_cpus,
        free_gpus=free_gpus,
        nodes=answer.totals,
        ray_version=answer.ray_version,
    )


def _say_nothing(message: str) -> None:
    """Take a message that nobody waits for."""
