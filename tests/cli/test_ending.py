"""Ending by a signal: once, not while it is held back, and back to normal afterwards."""

from __future__ import annotations

import signal

import pytest

from mountfs.cli.ending import SIGNALS, Ending


@pytest.fixture(autouse=True)
def restored() -> object:
    """What the signals mean, after the test as before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_ends_and_the_next_do_not(number: signal.Signals) -> None:
    """It raises KeyboardInterrupt; those that come while things are taken down change nothing."""
    steps: list[str] = []

    def work() -> None:
        with Ending().heeded():
            try:
                signal.raise_signal(number)
            finally:
                for each in SIGNALS:
                    signal.raise_signal(each)
                steps.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["cleaned"]


def test_a_held_signal_comes_late() -> None:
    """What is inside is finished first."""
    steps: list[str] = []

    def work(ending: Ending) -> None:
        with ending.heeded():
            with ending.held():
                signal.raise_signal(signal.SIGTERM)
                steps.append("finished")
            steps.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work(Ending())
    assert steps == ["finished"]


def test_no_signal_at_all(restored: dict[signal.Signals, object]) -> None:
    """Everything means again what it meant."""
    ending = Ending()
    with ending.heeded(), ending.held():
        assert signal.getsignal(signal.SIGTERM) != restored[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in SIGNALS} == restored


def test_ignored_while_it_ends_by_itself() -> None:
    """A signal during the cleaning up of what ended well."""
    ending = Ending()
    with ending.heeded():
        ending.ignore()
        signal.raise_signal(signal.SIGINT)


def test_under_nohup() -> None:
    """The terminal's end is none of ours then."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Ending().heeded():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
