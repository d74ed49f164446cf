"""A thread beside the training."""

import threading

import pytest

from rltrainer.core import UserError
from rltrainer.methods.beside import Beside


@pytest.fixture
def beside():
    made = Beside("test")
    yield made
    made.close()


def test_it_does_what_it_is_given_in_order(beside):
    done = []
    for number in range(20):
        beside.give(lambda number=number: done.append(number))
    beside.wait()
    assert done == list(range(20))


def test_giving_does_not_wait(beside):
    gate = threading.Event()
    beside.give(gate.wait)
    gate.set()  # reached only because `give` came back
    beside.wait()


def test_what_a_task_raises_reaches_whoever_waits_once(beside):
    def fail():
        raise UserError("the disk is full")

    beside.give(fail)
    with pytest.raises(UserError, match="the disk is full"):
        beside.wait()
    beside.wait()


def test_after_an_interrupted_wait_closing_still_waits_for_all_that_was_given(monkeypatch):
    beside = Beside("test")
    gate, done = threading.Event(), []
    beside.give(lambda: (gate.wait(), done.append("labels")))
    real = threading.Event.wait
    waits = []

    def interrupted(event, timeout=None):
        if threading.current_thread() is threading.main_thread() and not waits:
            waits.append(event)
            raise KeyboardInterrupt
        gate.set()
        return real(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        beside.wait()
    assert not done
    beside.close()
    assert done == ["labels"]


def test_its_thread_ends_with_it():
    beside = Beside("a thread of this test")
    beside.close()
    for thread in threading.enumerate():
        if thread.name == "a thread of this test":
            thread.join(5)
            assert not thread.is_alive()
