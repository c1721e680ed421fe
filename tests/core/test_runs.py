"""Runs as records: what is true after processes died, and how several servers share one home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import anyio
import pytest
from tests_support import pid_is_alive

from synapse_core.enums import LogLevel, RunState
from synapse_core.errors import InvalidRequest, RunNotFound, ValidationError
from synapse_core.events import Failed, Metrics, Progress, StepFinished, StepStarted, Succeeded
from synapse_core.executors import ProcessExecutor
from synapse_core.processes import ProcessId
from synapse_core.run_folder import Claim, Exit
from synapse_core.runs import Run, Runs, follow
from synapse_core.runs.request import make_request
from synapse_core.runs.run import fold
from synapse_core.runs.store import RunStore


def new_run(**fields):
    told = {"run_id": "r", "plugin": "p", "action": "a", "mode": "local", "state": RunState.QUEUED}
    return Run(**{**told, "created": datetime.now(UTC), **fields})


def request_for(lab, action="greet", **params):
    return make_request(lab.registry, "hello", action, params, mode="local", modes=["local"])


def test_a_run_is_the_fold_of_its_events():
    run = fold(
        new_run(),
        [
            StepStarted(seq=1, step="load", index=1, total=2, start=0.0, share=0.2),
            StepFinished(seq=2, step="load"),
            StepStarted(seq=3, step="train", index=2, total=2, start=0.2, share=0.8),
            Progress(seq=4, current=1, total=4, percent=25.0, category="train", remaining_seconds=9.0),
            Metrics(seq=5, category="train", values={"loss": 0.5}),
        ],
    )

    assert run.progress.fraction == pytest.approx(0.4)
    assert run.progress.step == "train"
    assert run.progress.eta_seconds == 9.0
    assert run.metrics == {"train": {"loss": 0.5}}
    assert run.last_seq == 5
    assert not run.is_done
    assert run.after(Succeeded(seq=6, result=1)).progress.fraction == 1.0
    assert run.after(Failed(seq=6, code="x", message="y")).failure.code == "x"


def test_a_category_of_the_actions_own_says_nothing_about_the_whole():
    run = new_run().after(StepStarted(step="train", index=1, total=1, start=0.0, share=1.0))
    run = run.after(Progress(current=1, total=2, percent=50, category="train"))

    assert run.after(Progress(current=9, total=10, percent=90, category="download")).progress.fraction == 0.5


def test_the_row_is_rebuilt_from_the_folder_when_it_knows_less(local_lab):
    run = local_lab.run("greet", {"repeat": 3})
    row = local_lab.runs.row(run.run_id)
    store = RunStore(local_lab.home)
    with store._connect() as connection:
        connection.exec_driver_sql(
            "update runs set events_read = 0, state = 'queued', snapshot = ?",
            (__import__("msgspec").json.encode(new_run(run_id=run.run_id, plugin="hello", action="greet")),),
        )
    store.close()

    rebuilt = local_lab.runs.get(run.run_id)

    assert rebuilt.state is RunState.SUCCEEDED
    assert rebuilt.result == row.run.result
    assert rebuilt.last_seq == row.run.last_seq


def test_a_run_of_which_nobody_can_know_the_end_is_lost_and_never_taken_for_a_success(local_lab):
    run_id = local_lab.begin("misbehave", {"way": "sleep"})
    local_lab.until(run_id, lambda run: run.progress.current == 1)
    claim = local_lab.runs.folder(run_id).claimed()
    os.kill(claim.supervisor.pid, signal.SIGKILL)
    os.kill(claim.worker.pid, signal.SIGKILL)

    lost = local_lab.until(run_id, lambda run: run.is_done)

    assert lost.state is RunState.LOST
    assert lost.failure.hint
    assert lost.progress.fraction > 0, "what was recorded is kept"


def test_a_run_goes_on_without_its_supervisor_and_can_be_stopped(local_lab, tmp_path):
    run_id = local_lab.begin("misbehave", {"way": "sleep", "marker": str(tmp_path)})
    local_lab.until(run_id, lambda run: run.progress.current == 1)
    claim = local_lab.runs.folder(run_id).claimed()
    os.kill(claim.supervisor.pid, signal.SIGKILL)
    assert local_lab.runs.get(run_id).state is RunState.RUNNING

    stopped = local_lab.runs.stop(run_id)

    assert stopped.state is RunState.STOPPED
    assert (tmp_path / "rolled_back").exists()
    assert not pid_is_alive(claim.worker.pid)


def orphaned(lab) -> Run:
    """Submit a run whose submitter then dies before anybody has begun it."""
    run, _ = lab.runs.submit(request_for(lab))
    gone = ProcessId(os.getpid(), "another process of the same number")
    store = RunStore(lab.home)
    assert store.take_over(store.get(run.run_id), gone)
    store.close()
    return run


def test_a_run_whose_server_died_before_it_began_is_started_by_the_next_one(local_lab):
    run = orphaned(local_lab)

    ended = local_lab.until(run.run_id, lambda run: run.is_done)

    assert ended.state is RunState.SUCCEEDED
    assert ended.result == {"text": "Hello, world!", "steps": 1}


def test_servers_that_find_an_orphan_at_the_same_time_run_it_once(local_lab):
    run = orphaned(local_lab)
    others = [Runs(local_lab.home, {"local": ProcessExecutor()}) for _ in range(4)]
    looking = [threading.Thread(target=runs.wait, args=(run.run_id, 30)) for runs in others]
    for thread in looking:
        thread.start()
    for thread in looking:
        thread.join()
    for runs in others:
        runs.close()

    assert [event.seq for event in local_lab.events(run) if event.seq == 1] == [1]
    assert local_lab.runs.get(run.run_id).state is RunState.SUCCEEDED


def test_a_process_that_only_looks_leaves_an_orphan_to_a_server(local_lab):
    run = orphaned(local_lab)
    looking = Runs(local_lab.home, {"local": ProcessExecutor()}, adopts=False)

    told = looking.get(run.run_id)

    assert told.state is RunState.QUEUED
    assert "next server" in told.waiting
    looking.close()


def test_a_run_of_which_only_the_row_was_written_is_told_and_can_no_longer_begin(local_lab):
    run = orphaned(local_lab)
    (local_lab.runs.folder(run.run_id).path / "request.json").unlink()

    told = local_lab.runs.get(run.run_id)

    assert told.state is RunState.FAILED
    assert told.failure.code == "never_started"
    assert told.failure.retryable
    local_lab.runs.start(run.run_id)
    assert not local_lab.runs.folder(run.run_id).events.exists()


def test_a_run_that_has_been_claimed_is_not_run_again(local_lab):
    run, _ = local_lab.runs.submit(request_for(local_lab))
    folder = local_lab.runs.folder(run.run_id)
    assert folder.claim(Claim("process", ProcessId.current()))
    assert not folder.claim(Claim("process", ProcessId.current()))

    ended = subprocess.run(
        [sys.executable, "-m", "synapse_core.supervisor", str(folder.path)], check=False, timeout=30
    )

    assert ended.returncode == 0
    assert not folder.events.exists()


def test_a_hundred_claims_at_once_are_won_by_one(local_lab):
    run, _ = local_lab.runs.submit(request_for(local_lab))
    folder = local_lab.runs.folder(run.run_id)
    won = []
    barrier = threading.Barrier(20)

    def claim():
        barrier.wait()
        won.extend(folder.claim(Claim("process", ProcessId.current())) for _ in range(5))

    threads = [threading.Thread(target=claim) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won.count(True) == 1


def test_a_hundred_submits_with_one_key_from_two_servers_make_one_run(local_lab):
    other = Runs(local_lab.home, {"local": ProcessExecutor()})
    made = []

    def submit(runs):
        made.extend(runs.submit(request_for(local_lab), "the-key") for _ in range(25))

    threads = [threading.Thread(target=submit, args=(runs,)) for runs in (local_lab.runs, other) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()

    assert len({run.run_id for run, _ in made}) == 1
    assert [is_new for _, is_new in made].count(True) == 1
    assert len(local_lab.runs.list()[0]) == 1


def test_another_server_of_the_same_home_sees_and_stops_the_run(local_lab):
    run_id = local_lab.begin("misbehave", {"way": "sleep"})
    local_lab.until(run_id, lambda run: run.progress.current == 1)
    other = Runs(local_lab.home, {"local": ProcessExecutor()})

    assert other.get(run_id).state is RunState.RUNNING
    assert other.stop(run_id).state is RunState.STOPPED
    other.close()
    assert local_lab.runs.get(run_id).state is RunState.STOPPED


def test_nothing_is_recorded_for_parameters_that_do_not_fit(local_lab):
    with pytest.raises(ValidationError) as refused:
        request_for(local_lab, greetin="x", repeat=0)

    assert {problem["path"] for problem in refused.value.problems} == {"greetin", "repeat"}
    assert local_lab.runs.list() == ([], None)


def test_lists_are_newest_first_and_page_without_losing_or_doubling(local_lab):
    made = [local_lab.runs.submit(request_for(local_lab, name=f"n{n}"))[0].run_id for n in range(7)]

    seen, cursor = [], None
    while True:
        page, cursor = local_lab.runs.list(limit=3, cursor=cursor)
        seen += [run.run_id for run in page]
        if cursor is None:
            break

    assert seen == made[::-1]
    assert len(local_lab.runs.list(state="active", limit=50)[0]) == 7
    assert local_lab.runs.list(state="succeeded")[0] == []
    with pytest.raises(InvalidRequest, match="the states are queued"):
        local_lab.runs.list(state="done")
    with pytest.raises(InvalidRequest, match="cursor"):
        local_lab.runs.list(cursor="???")


def test_an_unknown_run_is_answered_with_the_nearest_one(local_lab):
    run, _ = local_lab.runs.submit(request_for(local_lab))

    with pytest.raises(RunNotFound) as unknown:
        local_lab.runs.get(run.run_id[:-1])

    assert unknown.value.details["nearest"] == [run.run_id]


def test_local_runs_refuse_gpus_before_anything_is_recorded(local_lab):
    request = make_request(
        local_lab.registry, "hello", "greet", {}, mode="local", modes=["local"], resources={"num_gpus": 1}
    )
    with pytest.raises(InvalidRequest, match="mode 'local' does not assign"):
        local_lab.runs.submit(request)
    assert local_lab.runs.list()[0] == []


@pytest.mark.parametrize(
    "resources", [{"cpus": 1}, {"num_cpus": "two"}, {"num_cpus": -1}, {"num_cpus": True}]
)
def test_resources_that_make_no_sense_are_refused(local_lab, resources):
    with pytest.raises(InvalidRequest, match="num_cpus, num_gpus and memory"):
        make_request(
            local_lab.registry, "hello", "greet", {}, mode="local", modes=["local"], resources=resources
        )


def test_the_log_is_read_from_its_end_by_pattern_level_and_cursor(local_lab):
    run = local_lab.run("greet", {"name": "log"})
    path = local_lab.runs.folder(run.run_id).output
    path.write_bytes(
        b"".join(b"line %d\n" % number for number in range(10_000))
        + b"12:00:01 WARNING  be careful\n12:00:02 ERROR    broken\nlast without end"
    )

    log = local_lab.runs.log
    assert log(run.run_id, tail=2).lines == ["12:00:02 ERROR    broken", "last without end"]
    assert log(run.run_id, tail=5, grep="line 99[0-9]$").lines == [f"line {n}" for n in range(995, 1000)][-5:]
    assert log(run.run_id, level=LogLevel.WARNING).lines == [
        "12:00:01 WARNING  be careful",
        "12:00:02 ERROR    broken",
    ]
    page = log(run.run_id, tail=3)
    assert page.is_cut
    with open(path, "ab") as file:
        file.write(b"\nnews\n")
    assert log(run.run_id, cursor=page.cursor).lines == ["", "news"]
    assert len("".join(log(run.run_id, tail=9999, most_chars=500).lines)) <= 500


def test_a_pattern_that_would_take_for_ever_is_given_up(local_lab):
    run = local_lab.run("greet")
    local_lab.runs.folder(run.run_id).output.write_bytes(b"a" * 40 + b"b\n")

    with pytest.raises(InvalidRequest, match="takes too long"):
        local_lab.runs.log(run.run_id, grep=r"(a|aa)+\Z(?<=c)|^(a+)+$")


def test_a_line_without_an_end_hides_no_line_before_it(local_lab):
    run = local_lab.run("greet")
    local_lab.runs.folder(run.run_id).output.write_bytes(b"first\n" + b"x" * 5_000_000)

    lines = local_lab.runs.log(run.run_id, tail=5).lines

    assert lines[0] == "first"
    assert lines[1].endswith("… (cut)")
    assert len(local_lab.runs.log(run.run_id, cursor=0, tail=2).lines) == 2


def test_following_a_run_yields_every_state_and_ends_with_it(local_lab):
    run_id = local_lab.begin("greet", {"repeat": 5, "sleep_seconds": 0.05})

    async def watch():
        return [run async for run in follow(local_lab.runs, run_id)]

    seen = anyio.run(watch)

    fractions = [run.progress.fraction for run in seen]
    assert fractions == sorted(fractions)
    assert seen[-1].state is RunState.SUCCEEDED
    assert [run.is_done for run in seen].count(True) == 1


def test_leaving_a_follower_leaves_the_run_going(local_lab):
    run_id = local_lab.begin("greet", {"repeat": 10, "sleep_seconds": 0.05})

    async def leave_early():
        async for run in follow(local_lab.runs, run_id):
            if run.progress.current:
                return

    anyio.run(leave_early)

    assert local_lab.runs.wait(run_id, 60).state is RunState.SUCCEEDED


def test_a_stop_that_the_supervisor_wrote_down_before_dying_is_believed(local_lab):
    run, _ = local_lab.runs.submit(request_for(local_lab))
    folder = local_lab.runs.folder(run.run_id)
    folder.claim(Claim("process", ProcessId.current()))
    folder.write_exit(Exit(datetime.now(UTC), signal="SIGSEGV"))
    folder.write_exit(Exit(datetime.now(UTC), code=0))

    told = local_lab.runs.get(run.run_id)

    assert told.failure.code == "worker_crashed", "the first word is believed"


def test_a_torn_line_of_a_full_disk_hides_no_event_after_it(local_lab):
    run = local_lab.run("greet")
    events = local_lab.runs.folder(run.run_id).events
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(lines[0] + b'{"kind":"progr\n' + b"".join(lines[1:]))

    assert [event.seq for event in local_lab.events(run)] == list(range(1, len(lines) + 1))
