"""A run's files on their way home from a node that does not share the home's disk.

The worker writes into a run folder of its own node, which looks like any other. A Shipper on that node brings
what grows there to a Desk on a node that has the home's disk, byte for byte, so that both folders hold the
same. Each of them can die at any time: what the home holds already tells where to go on. A worker that dies
leaves its files to the Shipper; a run's server is not needed.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from synapse_core.answers import Answer, Answers
from synapse_core.decoding import decoded
from synapse_core.discovery import PASSED_OVER
from synapse_core.errors import InvalidRequest, SynapseError
from synapse_core.events import decode_line, is_terminal
from synapse_core.executors.ray.endings import plain
from synapse_core.executors.ray.run_order import NAMESPACE, RunOrder
from synapse_core.run_folder import Claim, Exit, RunFolder, RunRequest, StopRequest

_CHUNK_BYTES = 4 << 20
_MOST_PACKAGE_BYTES = 256 << 20
# How often a quiet run is looked at, and how often its home is asked whether it is to stop.
_LOOK_SECONDS = 0.02
_ASK_SECONDS = 0.2
_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 60.0
_EVENTS = "events.jsonl"
_GROWING = ("output.log", _EVENTS)


class Shipment(msgspec.Struct, frozen=True):
    """Where the files of a folder belong: the folder in the home, and the desk that reaches it."""

    home_path: str
    home_node: str


class Desk:
    """On a node that has the home's disk: claims runs for workers elsewhere and takes their files in."""

    def __init__(self) -> None:
        self._packages: dict[str, bytes] = {}

    def claim(self, path: str, claim: bytes) -> bytes | None:
        """Take a run for a worker. Returns the request, or None where somebody else has the run."""
        folder = RunFolder(path)
        request = folder.request()
        wanted = decoded(claim, Claim)
        # The same claim may come twice: the first answer can get lost with a desk that died.
        if request is None or not (folder.claim(wanted) or folder.claimed() == wanted):
            return None
        return msgspec.json.encode(request)

    def append(
        self, path: str, name: str, offset: int, data: bytes, answered: Sequence[str] = ()
    ) -> tuple[int, bytes | None, dict[str, Answer]]:
        """Append to a file of a run, if `offset` is where it ends.

        answered: the questions whose answers the worker's node has.
        Returns its size, which tells where to go on, the request to stop where there is one, and the answers
        that are not in `answered`.
        """
        folder = RunFolder(path)
        target = (folder.path / name).resolve()
        if not target.is_relative_to(folder.path.resolve()):
            raise InvalidRequest(f"{name!r} is not inside the run's folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "ab") as file:
            size = file.tell()
            if size == offset:
                size += file.write(data)
        if (request := folder.request()) is not None:
            folder.stop_if_orphaned(request)
        stop = folder.stop_requested()
        return size, None if stop is None else msgspec.json.encode(stop), _new_answers(folder, answered)

    def finish(self, path: str, ending: bytes) -> None:
        """Write down how the worker ended; everything else of the run is here."""
        RunFolder(path).write_exit(decoded(ending, Exit))

    def pack(self, root: str) -> str:
        """Pack a plugin's folder and return the digest under which `package` gives it out."""
        packed = _pack(Path(root))
        digest = hashlib.sha256(packed).hexdigest()[:32]
        self._packages = {digest: packed}
        return digest

    def package(self, root: str, digest: str) -> bytes:
        """Return a packed folder."""
        if digest not in self._packages:
            self.pack(root)
        return self._packages.get(digest, b"")


class Shipper:
    """On a worker's node: brings the files of its runs home, and tells the worker when it is to stop."""

    def __init__(self) -> None:
        self._under_way: set[Path] = set()
        self._lock = threading.Lock()
        self._last = time.monotonic()
        for record in _base().glob("runs/*/shipment.json"):
            self.ship(str(record.parent))  # an earlier life of this actor did not come to the end
        threading.Thread(target=self._end_when_idle, daemon=True).start()

    def ship(self, path: str) -> None:
        """Bring a run's files home as they grow, until it has ended."""
        with self._lock:
            self._last = time.monotonic()
            if Path(path) not in self._under_way:
                self._under_way.add(Path(path))
                threading.Thread(target=self._ship, args=(Path(path),), daemon=True).start()

    def _ship(self, path: Path) -> None:
        shipment = decoded((path / "shipment.json").read_bytes(), Shipment)
        folder = RunFolder(path)
        sizes: dict[str, int] = {}
        while True:
            try:
                if _bring(folder, shipment, sizes):
                    break
            except ray.exceptions.RayError:
                sizes.clear()  # the desk died, and comes back: ask it anew what it has
                time.sleep(_RETRY_SECONDS)
        shutil.rmtree(path, ignore_errors=True)  # what is left costs disk, nothing else
        with self._lock:
            self._under_way.discard(path)
            self._last = time.monotonic()

    def _end_when_idle(self) -> None:
        while True:
            time.sleep(_IDLE_SECONDS / 4)
            with self._lock:
                if not self._under_way and time.monotonic() - self._last > _IDLE_SECONDS:
                    ray.kill(ray.get_runtime_context().current_actor)
                    return


@contextmanager
def distant_folder(order: RunOrder, claim: Claim) -> Iterator[RunFolder | None]:
    """Give a run whose folder is on another node's disk a folder here; None where somebody has the run."""
    node = ray.get_runtime_context().get_node_id()
    claim = msgspec.structs.replace(claim, shipper=_shipper_name(node))
    desk = _actor(Desk, f"desk-{order.home_node}", order.home_node)
    answer = ray.get(desk.claim.remote(order.path, msgspec.json.encode(claim)))
    if answer is None:
        yield None
        return
    request = decoded(answer, RunRequest)
    folder = RunFolder(_base() / "runs" / hashlib.sha256(order.path.encode()).hexdigest()[:16])
    try:
        root = str(_unpacked(desk, request.root)) if request.root else ""
        folder.create(msgspec.structs.replace(request, root=root, home=""))
        folder.claim(claim)
        shipment = Shipment(order.path, order.home_node)
        (folder.path / "shipment.json").write_bytes(msgspec.json.encode(shipment))
        ray.get(_actor(Shipper, _shipper_name(node), node).ship.remote(str(folder.path)))
    except (OSError, SynapseError, ray.exceptions.RayError) as error:
        ending = Exit(
            datetime.now(UTC),
            cause="node_unprepared",
            message=f"A node that does not share the home's disk could not be prepared: {plain(error)}",
            hint="Check the disk and the memory of that node, or run where the home's disk is shared.",
        )
        ray.get(desk.finish.remote(order.path, msgspec.json.encode(ending)))
        yield None
        return
    yield folder


def _bring(folder: RunFolder, shipment: Shipment, sizes: dict[str, int]) -> bool:
    """Bring home what has grown since the last time. Returns True when the run has ended and all is there.

    sizes: how much of each file is at home.
    """
    desk = _actor(Desk, f"desk-{shipment.home_node}", shipment.home_node)
    # Looked for before the files: what was written until now is then in them.
    ending = folder.exit() or _death_in(folder)
    last_asked = time.monotonic()
    while True:
        moved = False
        for name in _GROWING:
            moved |= _bring_file(desk, folder, shipment.home_path, name, sizes)
        if moved:
            continue
        if ending is not None:
            break
        if time.monotonic() - last_asked > _ASK_SECONDS:
            _bring_file(desk, folder, shipment.home_path, _EVENTS, sizes, is_asking=True)
            return False
        time.sleep(_LOOK_SECONDS)
    for file in sorted(folder.artifacts.rglob("*")):
        if file.is_file():
            name = file.relative_to(folder.path).as_posix()
            while _bring_file(desk, folder, shipment.home_path, name, sizes):
                pass
    # Whoever reads the terminal event finds the artifacts there.
    while _bring_file(desk, folder, shipment.home_path, _EVENTS, sizes, with_end=True):
        pass
    ray.get(desk.finish.remote(shipment.home_path, msgspec.json.encode(ending)))
    return True


def _bring_file(
    desk: Any,
    folder: RunFolder,
    home_path: str,
    name: str,
    sizes: dict[str, int],
    *,
    is_asking: bool = False,
    with_end: bool = False,
) -> bool:
    """Bring home the next part of a file. Returns False where there was none.

    A file of which nothing is known yet is asked for first. is_asking: ask even where nothing is to be
    brought, for a stop. with_end: bring the terminal event too.
    """
    known = sizes.get(name)
    data = b"" if known is None else _part(folder.path / name, known)
    if name == _EVENTS and not with_end:
        data = _without_terminal(data)
    if known is not None and not data and not is_asking:
        return False
    here = Answers(folder.path)
    size, stop, answers = ray.get(desk.append.remote(home_path, name, known or 0, data, here.ids()))
    sizes[name] = size
    for question_id, answer in answers.items():
        here.put(question_id, answer)
    if stop is not None and folder.stop_requested() is None:
        folder.request_stop(decoded(stop, StopRequest).force)
    return known is None or bool(data)


def _new_answers(folder: RunFolder, answered: Sequence[str]) -> dict[str, Answer]:
    """Return the answers in a run's folder that the worker's node does not have, and empty the others."""
    answers = Answers(folder.path)
    found = {question_id: answers.get(question_id) for question_id in answers.ids()}
    for question_id in found.keys() & set(answered):
        answers.take(question_id)
    return {each: answer for each, answer in found.items() if answer is not None and each not in answered}


def _part(path: Path, offset: int) -> bytes:
    """Return what a file holds from an offset on, at most one chunk of it."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(_CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _without_terminal(data: bytes) -> bytes:
    """Return whole and torn lines of events without a last one that is terminal."""
    before, newline, last = data.rstrip(b"\n").rpartition(b"\n")
    try:
        return before + newline if is_terminal(decode_line(last)) else data
    except msgspec.MsgspecError:
        return data  # torn: the rest of it comes next


def _death_in(folder: RunFolder) -> Exit | None:
    """Return how a worker of this node ended that left no word itself, None while it runs."""
    claim = folder.claimed()
    if claim is None or claim.worker is None or claim.worker.is_alive:
        return None
    if (ending := folder.exit()) is not None:
        return ending
    return Exit(
        datetime.now(UTC),
        cause="worker_died",
        message=f"The worker process on {claim.host} died before the action returned: os._exit, a crash in "
        "native code, or a kill from outside.",
        hint="Call get_run_logs to see its last words; a crash leaves the Python stack there.",
    )


def _actor(kind: type, name: str, node: str) -> Any:
    """Return the one actor of this name, which lives on a node and comes back when it dies."""
    return (
        ray.remote(kind)
        .options(
            name=name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=32,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote()
    )


def _shipper_name(node: str) -> str:
    return f"shipper-{node}"


def _base() -> Path:
    """Return the folder of this node for runs of homes that are elsewhere."""
    base = Path(tempfile.gettempdir(), f"synapse-far-{os.getuid()}")
    base.mkdir(mode=0o700, exist_ok=True)
    return base


def _unpacked(desk: Any, root: str) -> Path:
    """Return the plugin's folder on this node, fetched where it is not here yet."""
    digest: str = ray.get(desk.pack.remote(root))
    place = _base() / "plugins" / digest
    if not place.is_dir():
        packed = ray.get(desk.package.remote(root, digest))
        if not packed:
            raise InvalidRequest(f"The plugin in {root} is being edited.", hint="Run it again.")
        temporary = place.with_name(f".{digest}.{os.getpid()}")
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(temporary)
        try:
            temporary.rename(place)
        except OSError:
            shutil.rmtree(temporary)  # another worker of this node was faster
    return place / Path(root).name


def _pack(root: Path) -> bytes:
    """Return a plugin's folder as an archive that is the same for the same files."""
    buffer = io.BytesIO()
    total = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in PASSED_OVER)
            for name in sorted(names):
                file = Path(folder, name)
                content = file.read_bytes()
                total += len(content)
                if total > _MOST_PACKAGE_BYTES:
                    raise InvalidRequest(
                        f"The plugin's folder {root} holds more than {_MOST_PACKAGE_BYTES >> 20} MB.",
                        hint="Keep weights and data outside of the plugin's folder.",
                    )
                entry = zipfile.ZipInfo(f"{root.name}/{file.relative_to(root).as_posix()}")
                entry.external_attr = (file.stat().st_mode & 0o777) << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
