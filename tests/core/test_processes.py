"""Processes told apart for certain, and ended with all that they started."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from tests_support import pid_is_alive

from synapse_core.processes import ProcessId, descendants, kill_descendants, kill_group

# Waits for the end of its standard input.
WAITING = [sys.executable, "-c", "print('up', flush=True); input()"]

# Starts a child, tells its pid, and waits.
CHILD = """\
import subprocess, sys
grandchild = subprocess.Popen(
    [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
grandchild.stdout.readline()
print(grandchild.pid, flush=True)
input()
"""


def started(command: list[str], **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[str]]:
    """A process that waits, and has begun to."""
    process = started(WAITING)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    yield process
    ended(process)


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with a child, in a group of their own, and the child's pid."""
    process = started([sys.executable, "-c", CHILD], start_new_session=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process, child
    kill_group(process.pid)
    ended(process)


def until_gone(pid: int) -> None:
    """Wait until nothing runs under a pid that was killed already."""
    while pid_is_alive(pid):
        os.sched_yield()


def test_this_process_knows_itself():
    mine = ProcessId.current()

    assert mine.pid == os.getpid()
    assert mine.is_alive
    assert ProcessId.current() == ProcessId.of(os.getpid()) == mine


def test_a_live_process_is_known_until_it_ends(waiting: subprocess.Popen[str]):
    identity = ProcessId.of(waiting.pid)

    assert identity is not None
    assert identity.is_alive
    ended(waiting)
    assert not identity.is_alive
    assert ProcessId.of(waiting.pid) is None


def test_a_process_that_ended_and_was_not_waited_for_is_dead(waiting: subprocess.Popen[str]):
    identity = ProcessId.of(waiting.pid)
    assert identity is not None
    waiting.kill()
    os.waitid(os.P_PID, waiting.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now

    assert not identity.is_alive
    assert ProcessId.of(waiting.pid) is None


def test_another_process_of_the_same_pid_is_another(waiting: subprocess.Popen[str]):
    identity = ProcessId.of(waiting.pid)
    assert identity is not None
    earlier = ProcessId(identity.pid, identity.started + "0")

    assert earlier != identity
    assert not earlier.is_alive
    assert not earlier.send(signal.SIGKILL)
    assert identity.is_alive


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_where_there_is_no_process_there_is_no_identity(pid: int):
    assert ProcessId.of(pid) is None


def test_an_identity_can_be_written_down(waiting: subprocess.Popen[str]):
    identity = ProcessId.of(waiting.pid)

    assert msgspec.json.decode(msgspec.json.encode(identity), type=ProcessId) == identity
    assert pickle.loads(pickle.dumps(identity)) == identity


def test_a_signal_reaches_the_process_and_nobody_after_it(waiting: subprocess.Popen[str]):
    identity = ProcessId.of(waiting.pid)
    assert identity is not None

    assert identity.send(signal.SIGTERM)
    waiting.communicate()
    assert waiting.returncode == -signal.SIGTERM
    assert not identity.send(signal.SIGTERM)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own record of a name")
@pytest.mark.parametrize("name", ["a) Z 1 (b", "x y", ") R 1"])
def test_no_name_of_a_process_confuses(name: str):
    rename = f"import ctypes; ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)"
    code = f"{rename}; print('up', flush=True); input()"
    process = started([sys.executable, "-c", code])
    assert process.stdout is not None
    process.stdout.readline()

    identity = ProcessId.of(process.pid)

    assert identity is not None
    assert identity.is_alive
    assert identity.started.rpartition(":")[2].isdigit()
    assert identity in descendants(os.getpid())
    ended(process)


def test_two_processes_are_two(waiting: subprocess.Popen[str]):
    assert ProcessId.of(waiting.pid) != ProcessId.current()


def test_all_below_a_process_are_found_children_first(parent: tuple[subprocess.Popen[str], int]):
    process, child = parent

    assert [found.pid for found in descendants(process.pid)] == [child]
    of_mine = [found.pid for found in descendants(os.getpid())]
    assert of_mine.index(process.pid) < of_mine.index(child)
    assert os.getpid() not in of_mine
    assert descendants(child) == []


def test_below_what_is_not_there_is_nothing():
    assert descendants(2**22 + 1) == []
    assert kill_descendants(2**22 + 1) == 0


def test_all_below_a_process_are_killed_and_it_lives(parent: tuple[subprocess.Popen[str], int]):
    process, child = parent

    assert kill_descendants(process.pid) == 1

    until_gone(child)
    assert process.poll() is None


def test_a_group_is_killed_whole(parent: tuple[subprocess.Popen[str], int]):
    process, child = parent

    kill_group(process.pid)

    process.wait()
    assert process.returncode == -signal.SIGKILL
    until_gone(child)


def test_a_group_that_is_not_there_is_no_error():
    kill_group(2**22 + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans go to the first process")
def test_orphans_come_to_whoever_adopts_them():
    code = (
        "import os, subprocess, sys\n"
        "from synapse_core.processes import adopt_orphans, descendants\n"
        "adopt_orphans()\n"
        f"middle = subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdin=subprocess.PIPE, "
        "stdout=subprocess.PIPE, text=True)\n"
        "orphan = int(middle.stdout.readline())\n"
        "middle.kill()\n"
        "middle.wait()\n"
        "print([found.pid for found in descendants(os.getpid())] == [orphan])\n"
        "os.kill(orphan, 9)\n"
        "os.waitpid(orphan, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "True\n"
