"""What may come of any input: it is done, or refused by a sentence of ours. Nothing else.

An error is ours if a `raise` in famus_jax made it; whatever type it has, one that an operation or
another library raised is somebody else's. What takes longer than `SECONDS` hangs.
"""

import contextlib
import dis
import math
import pathlib
import signal
import threading

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import famus_jax

PACKAGE = str(pathlib.Path(famus_jax.__file__).parent)
SECONDS = 20


class Raw(AssertionError):
    """Somebody else's error reached the user."""


class Hang(BaseException):
    """It took too long."""


@contextlib.contextmanager
def in_time(seconds=SECONDS):
    """Raises `Hang` in the block after so long; C code is waited for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number, frame):
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def refusal(call):
    """The message with which `call()` is refused; None if it is done.

    Raises:
      Raw: for an error that isn't ours, or one without a message.
    """
    try:
        with in_time():
            call()
    except Exception as error:
        if not ours(error):
            raise Raw(f"{type(error).__name__}: {error}") from error
        if not str(error):
            raise Raw(f"{type(error).__name__} without a message") from error
        return str(error)  # one that quotes much of a file is cut where the command prints it
    return None


def ours(error):
    """Whether a `raise` statement of famus_jax made this error, or the system that names a file."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    raises = dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    return raises and code.co_filename.startswith(PACKAGE)


def fuzz(count, strategy, check):
    """Runs `check` on `count` inputs, the same ones every time; shows the smallest that fails."""

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def one(case):
        check(case)

    one()


numbers = st.one_of(
    st.sampled_from(
        [
            0,
            1,
            -1,
            2,
            3,
            0.5,
            -0.5,
            1.5,
            math.nan,
            math.inf,
            -math.inf,
            10**9,
            10**18,
            10**400,
            1e-300,
            1e300,
        ]
    ),
    st.integers(),
    st.floats(),
)
texts = st.one_of(
    st.sampled_from(["", "none", "a/b", "..", "\0", "é", "\ud800", "x" * 300, "None", "nan", "1"]),
    st.text(max_size=5),
)
atoms = st.one_of(
    numbers, texts, st.none(), st.booleans(), st.binary(max_size=3), st.just(object())
)
junk = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(texts, numbers), inner, max_size=3),
    ),
    max_leaves=4,
)
"""Values of any type, those that are often forgotten first."""
