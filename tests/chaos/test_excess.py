"""Too much of everything: memory, output, results. Each is told as what it is, and the server lives."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Laboratory

from synapse_core.enums import RunState
from synapse_core.executors.ray import RayActorExecutor, RayCluster

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
GIB = 1 << 30


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A group of processes that may use 300 MB together."""
    group = MEMORY_GROUPS / f"synapse-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(300 << 20))
    except OSError as error:
        pytest.skip(f"needs the right to limit the memory of a group of processes: {error}")
    yield group
    while (group / "cgroup.procs").read_text():
        time.sleep(0.01)
    group.rmdir()


def test_a_kill_by_the_kernel_for_lack_of_memory_is_named_as_such(local_lab, memory_group):
    run_id = local_lab.begin("misbehave", {"way": "eat_memory", "amount": 8 * GIB})
    local_lab.until(run_id, lambda run: run.progress.current == 1)
    worker = local_lab.runs.folder(run_id).claimed().worker
    (memory_group / "cgroup.procs").write_text(str(worker.pid))

    ended = local_lab.until(run_id, lambda run: run.is_done)

    assert (ended.state, ended.failure.code) == (RunState.FAILED, "out_of_memory")
    assert "memory" in ended.failure.message
    assert ended.failure.hint


def memory_in_use() -> tuple[int, int]:
    """Return the bytes of memory in use on this machine, and how many there are."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total - free, total


@pytest.mark.ray("own")
def test_a_kill_by_ray_for_lack_of_memory_is_named_as_such(home, registry, monkeypatch):
    used, total = memory_in_use()
    if total - used < 8 * GIB:
        pytest.skip("needs 8 GiB of free memory")
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(used + 3 * GIB) / total:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    cluster = RayCluster(home)
    cluster.connect()
    lab = Laboratory("task", home, registry, {"task": RayActorExecutor(cluster=cluster)})
    try:
        ended = lab.run("misbehave", {"way": "eat_memory", "amount": 6 * GIB})
    finally:
        lab.runs.close()
        cluster.stop()

    assert (ended.state, ended.failure.code) == (RunState.FAILED, "out_of_memory")
    assert ended.failure.hint


def test_a_result_of_200_mb_is_refused_and_not_recorded(lab):
    ended = lab.run("misbehave", {"way": "huge_result", "amount": 200_000_000})

    assert (ended.state, ended.failure.code) == (RunState.FAILED, "invalid_result")
    assert "artifacts folder" in ended.failure.hint
    assert lab.runs.folder(ended.run_id).events.stat().st_size < 100_000


def test_a_flood_of_output_is_kept_whole_and_read_from_its_end(lab, request):
    amount = 1_000_000_000 if request.config.getoption("--chaos-long") else 100_000_000
    run_id = lab.begin("misbehave", {"way": "print", "amount": amount})

    slowest = 0.0
    while not lab.runs.get(run_id).is_done:
        began = time.monotonic()
        page = lab.runs.log(run_id, tail=10)
        slowest = max(slowest, time.monotonic() - began)

    assert lab.runs.get(run_id).state is RunState.SUCCEEDED
    assert lab.runs.folder(run_id).output.stat().st_size > amount * 0.99
    assert "no end of line" in "\n".join(lab.runs.log(run_id, tail=10).lines)
    assert page.lines
    assert slowest < 1.0
