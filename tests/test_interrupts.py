"""Facts about interrupts: the first signal waits for a safe place, the second one does not wait."""

from __future__ import annotations

import signal
import threading

import pytest

from rltrainer.interrupts import Interrupts

BOTH = pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_the_first_signal_is_kept_until_it_is_asked_for(asked: signal.Signals) -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        signal.raise_signal(asked)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()


@BOTH
def test_the_second_signal_interrupts_at_once(asked: signal.Signals) -> None:
    with Interrupts():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(asked)


def test_afterwards_signals_are_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before[1]
        signal.raise_signal(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_the_main_thread_no_signal_is_touched() -> None:
    handlers = []

    def enter() -> None:
        with Interrupts():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
