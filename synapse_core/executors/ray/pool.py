"""Which run goes to which worker: the oldest first, idle workers before new ones, no more than fit."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from synapse_core.environment import passed_environment
from synapse_core.errors import SynapseError
from synapse_core.events import ends_terminal
from synapse_core.executors.base import Notify
from synapse_core.executors.ray.capacity import asked_of, waiting_reason, workers_at_once
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster
from synapse_core.executors.ray.endings import exit_of
from synapse_core.executors.ray.run_order import NAMESPACE, RunOrder, actor_options, worker_name
from synapse_core.run_folder import Claim, Exit, Resources, RunFolder, RunRequest

# A worker that is handed one run after the other makes room after so long: a run of another server may be
# waiting for its CPU. A new worker costs half a second.
_SHIFT_SECONDS = 5.0
# A run of another kind that has waited so long is let in before any that came after it.
_PATIENCE_SECONDS = 3.0
_TELL_SECONDS = 0.5
# A new worker on a busy machine. From outside it cannot be told from one that waits for a CPU.
_COMING_UP_SECONDS = 1.5


@dataclass(frozen=True)
class _Key:
    """What two runs must share to use one worker: the plugin's very content, and its surroundings."""

    root: str
    content: str
    resources: Resources
    passed_names: tuple[str, ...]


@dataclass(eq=False)
class _Order:
    """A run that is to be executed."""

    folder: RunFolder
    request: RunRequest
    notify: Notify
    key: _Key
    came: float = field(default_factory=time.monotonic)
    is_retry: bool = False

    @property
    def is_over(self) -> bool:
        """True where somebody has the run, or nobody is to have it any more."""
        return self.folder.claimed() is not None or not self.folder.path.exists()


@dataclass(eq=False)
class _Worker:
    """A worker actor of ours. began: when it was given the first run of its shift."""

    key: _Key
    handle: Any
    began: float = field(default_factory=time.monotonic)


class WorkerPool:
    """The workers of one process, and the runs that wait for one.

    Everything happens in one thread, in the order in which it came: Ray answers in threads of its own, in
    which asking Ray for anything would wait for itself. Workers are detached and hold their first run
    already when they are created, so that it is executed whatever becomes of this process.
    """

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        self._status: ClusterStatus | None = None
        self._node: str | None = None
        self._lanes: dict[Resources, deque[_Order]] = {}
        self._active: Counter[Resources] = Counter()
        self._idle: list[_Worker] = []
        # Orders that were handed over; whether they have begun is seen in their folders.
        self._handed: dict[_Order, _Worker] = {}
        self._is_closed = False
        self._thread = ThreadPoolExecutor(1, "ray-workers")
        self._teller: threading.Thread | None = None

    def put(self, folder: RunFolder, request: RunRequest, notify: Notify, status: ClusterStatus) -> None:
        """Have a run executed when its turn comes. status: the cluster as it is."""
        order = _Order(folder, request, notify, _key(request))
        self._thread.submit(self._take_in, order, status)

    def close(self) -> None:
        """End idle workers, drop what waits; busy workers go on and end by themselves."""
        self._thread.submit(self._close)

    def _take_in(self, order: _Order, status: ClusterStatus) -> None:
        self._joined(status)
        self._lanes.setdefault(order.key.resources, deque()).append(order)
        self._admit()
        if self._teller is None or not self._teller.is_alive():
            self._teller = threading.Thread(target=self._tell, name="ray-waiting", daemon=True)
            self._teller.start()

    def _joined(self, status: ClusterStatus) -> None:
        """Take note of the cluster as it is; the workers of one that died are gone."""
        self._status = status
        node = self._cluster.node_id()
        if node != self._node:
            self._node = node
            self._idle.clear()

    def _admit(self) -> None:
        """Give every run that can have one a worker, the oldest first."""
        for lane in sorted(filter(None, self._lanes.values()), key=lambda lane: lane[0].came):
            while lane and (lane[0].is_over or self._place(lane[0])):
                lane.popleft()

    def _place(self, order: _Order) -> bool:
        """Hand a run to an idle worker of its kind, or to a new one. Returns False where it has to wait."""
        fitting = [worker for worker in self._idle if worker.key == order.key]
        if fitting:
            self._idle.remove(fitting[-1])
            self._hand(order, fitting[-1])
            return True
        if self._is_one_ending(order.key):
            return False
        resources = order.key.resources
        assert self._status is not None, "an order brings the cluster's status"
        if self._active[resources] >= workers_at_once(resources, self._status) or self._gives_way(order):
            return False
        if asked_of(resources):
            # Idle workers hold what this one needs.
            for worker in [idle for idle in self._idle if asked_of(idle.key.resources)]:
                self._idle.remove(worker)
                end_worker(worker.handle)
        try:
            self._hand(order, self._new_worker(order))
        except SynapseError as error:
            if order.folder.claim(Claim("nobody")):
                order.folder.write_exit(
                    Exit(datetime.now(UTC), cause=error.code, message=error.message, hint=error.hint)
                )
        return True

    def _is_one_ending(self, key: _Key) -> bool:
        """Return True where a worker of this kind has done its run, and its answer is on the way."""
        return any(
            worker.key == key and ends_terminal(order.folder.events) for order, worker in self._handed.items()
        )

    def _gives_way(self, order: _Order) -> bool:
        """Return True where a run of another kind came before this one and has waited for too long."""
        now = time.monotonic()
        return any(
            other.key != order.key and other.came < order.came and now - other.came > _PATIENCE_SECONDS
            for other in self._unbegun()
        )

    def _new_worker(self, order: _Order) -> _Worker:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # Ray is loaded by now

        # Asked anew: with a cluster that died meanwhile, creating an actor would wait for ever.
        self._joined(self._cluster.connect(order.notify))
        name = worker_name()
        options = actor_options(order.key.resources, name, detached=True)
        if order.request.pipeline:
            # A coordinator writes into the home itself, and has its actions' files brought there.
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(
                self._cluster.node_id(), soft=False
            )
        return _Worker(order.key, create_worker(options, name, self._order_of(order)))

    def _order_of(self, order: _Order) -> RunOrder:
        return RunOrder(
            str(order.folder.path),
            passed_environment(order.request.passed_names),
            self._cluster.node_id(),
            str(self._cluster.wanted) if asked_of(order.key.resources) else None,
        )

    def _hand(self, order: _Order, worker: _Worker) -> None:
        """Ask a worker for the run. A new one has it already; this call's answer tells when it is free."""
        self._active[worker.key.resources] += 1
        self._handed[order] = worker
        reply = worker.handle.run.remote(self._order_of(order))
        reply.future().add_done_callback(lambda future: self._later(self._ended, order, worker, future))

    def _later(self, work: Any, *arguments: Any) -> None:
        with suppress(RuntimeError):  # this process is ending: its workers end by themselves
            self._thread.submit(work, *arguments)

    def _ended(self, order: _Order, worker: _Worker, future: Any) -> None:
        """See to what the end of a call asks for, then to who waits."""
        self._active[worker.key.resources] -= 1
        self._handed.pop(order, None)
        error = future.exception()
        if error is None:
            self._free(worker)
        elif not order.is_over and not order.is_retry and order.folder.stop_requested() is None:
            # The worker ended between our taking it and its getting the run: nothing was begun.
            order.is_retry = True
            self._lanes[worker.key.resources].appendleft(order)
        else:
            claim = order.folder.claimed()
            if claim is None or not claim.is_mirrored:
                order.folder.write_exit(exit_of(error))
        self._admit()
        self._leave_when_done()

    def _free(self, worker: _Worker) -> None:
        """Give a worker the oldest run that it can take, or end it where it is in somebody's way."""
        waiting = self._unbegun()
        mine = next((order for order in waiting if order.key == worker.key), None)
        if self._is_closed or (waiting and time.monotonic() - worker.began > _SHIFT_SECONDS):
            end_worker(worker.handle)
        elif not waiting:
            worker.began = time.monotonic()
            self._idle.append(worker)
        elif mine is None or self._gives_way(mine):
            end_worker(worker.handle)
        else:
            # It may be a run whose own new worker has not come up: the first of the two has it.
            lane = self._lanes[worker.key.resources]
            if mine in lane:
                lane.remove(mine)
            self._hand(mine, worker)

    def _close(self) -> None:
        self._is_closed = True
        self._lanes.clear()
        while self._idle:
            end_worker(self._idle.pop().handle)
        self._leave_when_done()

    def _leave_when_done(self) -> None:
        """End the thread of a closed pool when its last worker has become free and was ended."""
        if self._is_closed and not self._handed:
            self._thread.shutdown(wait=False)

    def _tell(self) -> None:
        """Write down twice a second why runs have not begun, until none waits.

        Workers of other servers that idle are told that somebody wants their place.
        """
        while not self._is_closed:
            time.sleep(_TELL_SECONDS)
            waiting = self._unbegun()
            if waiting:
                status = self._cluster.status()
                if any(_lacks_room(order) for order in waiting):
                    self._cluster.wanted.touch()
            for ahead, order in enumerate(waiting):
                if not order.is_over:
                    order.notify(waiting_reason(order.key.resources, status, ahead))
            self._later(self._give_up_stopped)
            if not waiting and not self._handed:
                return

    def _unbegun(self) -> list[_Order]:
        """Return the runs that nobody has begun, the oldest first."""
        orders = [*self._handed, *(order for lane in list(self._lanes.values()) for order in list(lane))]
        return sorted((order for order in orders if not order.is_over), key=lambda order: order.came)

    def _give_up_stopped(self) -> None:
        """End workers that have not come up and whose run was stopped meanwhile."""
        for order, worker in list(self._handed.items()):
            claim = order.folder.claimed()
            if claim is not None and claim.executor == "nobody":
                end_worker(worker.handle)
        self._admit()


def _lacks_room(order: _Order) -> bool:
    """Return True where a run waits for what others hold, and not only for its worker to come up."""
    return bool(asked_of(order.key.resources)) and time.monotonic() - order.came > _COMING_UP_SECONDS


def create_worker(options: dict[str, Any], name: str, first: RunOrder | None = None) -> Any:
    """Create a worker actor; `first` is the run that it begins with."""
    import ray  # it is loaded by now

    from synapse_core.executors.ray.task_worker import TaskWorker  # imports Ray

    return ray.remote(TaskWorker).options(namespace=NAMESPACE, **options).remote(name, first)


def end_worker(handle: Any) -> None:
    """End a worker; one of a cluster that died needs no ending."""
    import ray  # it is loaded by now

    with suppress(ray.exceptions.RayError):
        ray.kill(handle)


def _key(request: RunRequest) -> _Key:
    return _Key(request.root, request.content, request.resources, request.passed_names)
