"""A request to stop, and how it reaches the thread that works."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Callable

import pytest

from synapse_core.errors import RunStopped
from synapse_core.stop import StopSignal

WAIT_SECONDS = 10.0


def work_until_stopped(stop: StopSignal, work: Callable[[threading.Event], None]) -> list[str]:
    """Run `work` in an armed thread, ask for a stop once it has set its event, and return how it ended."""
    begun = threading.Event()
    told: list[str] = []

    def body() -> None:
        try:
            with stop.armed():
                work(begun)
            told.append("finished")
        except RunStopped as error:
            told.append(str(error))

    thread = threading.Thread(target=body)
    thread.start()
    assert begun.wait(WAIT_SECONDS)
    stop.request()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    return told


def test_nothing_is_raised_without_a_request():
    stop = StopSignal()
    with stop.armed(), stop.uninterrupted:
        stop.raise_if_requested()

    assert not stop.is_requested


def test_a_request_is_raised_where_it_is_looked_for():
    stop = StopSignal()
    stop.request()

    assert stop.is_requested
    with pytest.raises(RunStopped, match="The run was asked to stop"):
        stop.raise_if_requested()


def test_a_request_is_raised_once():
    stop = StopSignal()
    stop.request()
    with pytest.raises(RunStopped):
        stop.raise_if_requested()

    stop.raise_if_requested()
    stop.request()
    with stop.armed():
        stop.raise_if_requested()
    assert stop.is_requested


def test_a_handler_of_all_exceptions_does_not_swallow_it():
    stop = StopSignal()
    stop.request()

    with pytest.raises(RunStopped):
        try:
            stop.raise_if_requested()
        except Exception:  # noqa: BLE001  # what actions hold around their work
            pytest.fail("a stop is no Exception")


def test_a_request_reaches_a_thread_that_never_looks():
    def busy(begun: threading.Event) -> None:
        begun.set()
        while True:
            pass

    assert work_until_stopped(StopSignal(), busy) == ["The run was asked to stop."]


def test_a_request_that_came_before_the_work_keeps_it_from_beginning():
    stop = StopSignal()
    stop.request()

    with pytest.raises(RunStopped), stop.armed():
        pytest.fail("the block must not run")


def test_a_request_from_the_armed_thread_itself_is_raised_there():
    stop = StopSignal()
    with pytest.raises(RunStopped), stop.armed():
        stop.request()
        pytest.fail("the request is raised at once")


def test_a_signal_handler_may_ask_for_it():
    stop = StopSignal()
    former = signal.signal(signal.SIGUSR1, lambda number, frame: stop.request())
    try:
        with pytest.raises(RunStopped), stop.armed():
            signal.raise_signal(signal.SIGUSR1)
            pytest.fail("the request is raised at once")
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_after_the_work_a_request_strikes_nobody():
    stop = StopSignal()
    with stop.armed():
        pass
    stop.request()

    assert stop.is_requested


def test_a_request_is_held_off_while_a_block_must_not_be_torn():
    stop = StopSignal()
    done = []

    with pytest.raises(RunStopped), stop.armed():
        with stop.uninterrupted:
            stop.request()
            done.append("written")
        pytest.fail("the end of the block delivers the request")

    assert done == ["written"]


def test_blocks_within_blocks_hold_it_off_until_the_last_ends():
    stop = StopSignal()
    done = []

    with pytest.raises(RunStopped), stop.armed(), stop.uninterrupted:
        with stop.uninterrupted:
            stop.request()
        done.append("inner ended")

    assert done == ["inner ended"]


def test_a_request_from_another_thread_waits_for_the_end_of_such_a_block():
    stop = StopSignal()
    done = []

    def work(begun: threading.Event) -> None:
        with stop.uninterrupted:
            begun.set()
            while not stop.is_requested:
                pass
            done.append("written")
        while True:
            pass

    assert work_until_stopped(stop, work) == ["The run was asked to stop."]
    assert done == ["written"]


def test_a_shielded_block_runs_to_its_end():
    stop = StopSignal()
    done = []

    def work(begun: threading.Event) -> None:
        with stop.shielded():
            begun.set()
            while not stop.is_requested:
                pass
            stop.raise_if_requested()
            with stop.uninterrupted:
                pass
            done.append("undone")

    assert work_until_stopped(stop, work) == ["finished"]
    assert done == ["undone"]


def test_what_was_asked_for_during_a_shielded_block_is_raised_where_it_is_looked_for_next():
    stop = StopSignal()
    with stop.armed():
        with stop.shielded():
            stop.request()
        with pytest.raises(RunStopped):
            stop.raise_if_requested()


def test_shields_within_shields_hold_until_the_last_ends():
    stop = StopSignal()
    with stop.armed(), stop.shielded():
        with stop.shielded():
            stop.request()
        stop.raise_if_requested()


def test_of_many_requests_from_many_threads_one_is_raised():
    stop = StopSignal()
    caught = []

    begun = threading.Event()

    def ask() -> None:
        begun.wait()
        for _ in range(100):
            stop.request()

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        with stop.armed():
            begun.set()
            while True:
                pass
    except RunStopped:
        caught.append("once")
    for asker in askers:
        asker.join()
    with stop.armed():
        stop.raise_if_requested()

    assert caught == ["once"]


def test_a_stop_that_was_raised_can_travel_to_another_process():
    stop = StopSignal()
    stop.request()
    with pytest.raises(RunStopped) as caught:
        stop.raise_if_requested()

    travelled = pickle.loads(pickle.dumps(caught.value))

    assert type(travelled) is RunStopped
    assert str(travelled) == "The run was asked to stop."
    assert travelled.code == "stopped"
