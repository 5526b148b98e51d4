"""Signals: what is noted, what ends at once."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from famus_jax.interruption import SIGNALS, Interrupted, Interruption


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_what_can_be_ended(number):
    """Fails if it is only noted where nobody asks; if the status is not the shell's; and if an
    `except Exception` on the way could swallow it."""

    def swallow():
        try:
            signal.raise_signal(number)
        except Exception:
            pytest.fail("taken for a failure")

    with Interruption(), pytest.raises(Interrupted) as ended:
        swallow()
    assert ended.value.exit_status == 128 + number
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_deferred_signal_is_noted_and_passed_on():
    """Fails if work that can't be broken off is broken off, or a later signal replaces the first."""
    passed = []
    with Interruption() as interruption:
        interruption.forward = passed.append
        with interruption.deferred():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
        assert interruption.received is signal.SIGHUP
    assert passed == [signal.SIGHUP, signal.SIGTERM]


def test_what_is_ignored_stays_so():
    """Fails if a closed terminal ended what `nohup` has started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
        assert interruption.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_is_left_where_all_are_ignored():
    """Fails if the way out is told by what was replaced: where nothing was, the descriptor that signals
    wake and the thread that listens would stay."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    threads = set(threading.enumerate())  # one of another test may end meanwhile
    try:
        with Interruption():
            assert len(set(threading.enumerate()) - threads) == 1
        assert signal.set_wakeup_fd(-1) == -1
        until = time.monotonic() + 10
        while set(threading.enumerate()) - threads:
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_second_interrupt_ends_at_once_in_the_midst_of_c_code():
    """The main thread is in one long call that no Python handler can break into, as a compilation is.
    Fails if the second SIGINT waits for it, or shows a traceback."""
    code = (
        "import sys; sys.path.insert(0, 'famus_jax'); from interruption import Interruption\n"
        "with Interruption('famus train') as it, it.deferred():\n"
        "    print('ready', flush=True); import hashlib; hashlib.pbkdf2_hmac('sha1', b'', b'', 10**9)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "famus train: SIGINT: saving after this step" in said
    assert "ended at once" in said
    assert "Traceback" not in said
