"""Strictness for every test: warnings are errors, ranks are never promoted silently."""

import os
import signal
from pathlib import Path

from compiler_flags import FLAGS, OLDER_CODE

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the floors are those of the CPU; nothing needs more
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# Most of the time goes into compiling: what one worker, or an earlier run, has compiled is kept.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

# A shell starts what it runs in the background with these ignored, and a child inherits that: tests of
# signals need them as a terminal has them.
SIGNALS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}

# Third parties that we can't repair, each named as narrowly as the warning allows.
ALLOWED = (
    "ignore::DeprecationWarning:(tensorflow|tensorflow_datasets|google|etils|orbax|keras)",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # The cache's files are not written at one go: a half-written one is compiled anew.
    "ignore:Error reading persistent compilation cache entry",
    "ignore:an estimator that chooses anew from step to step",  # ours; a test of its own expects it
)


def pytest_configure(config):
    for number, handler in SIGNALS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    config.addinivalue_line("filterwarnings", "error")
    for line in ALLOWED:
        config.addinivalue_line("filterwarnings", line)


# Files of one or two long tests, and those that take longest: begun last, one of them would keep one
# worker busy while the others have nothing left to do.
LONGEST = (
    "test_readme.py",
    "test_floors.py",
    "test_optimizer_step.py",
    "test_update_every.py",
    "test_streams.py",
    "test_experiment.py",
    "test_processes.py",
    "test_two_networks.py",
    "test_scale_doc.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first; all else as it was."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True)
def steps_are_checked(monkeypatch):
    """Every step runs the program that its state called for (`jax_enable_checks` asks JAX for much
    more, and takes a tenth of the time)."""
    monkeypatch.setattr("famus_jax.uses.dispatch.debugging", lambda: True)


@pytest.fixture
def x64():
    """Double precision for one test: create every array inside it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def as_shipped(monkeypatch):
    """Training steps, and programs that are lowered and compiled, have the newer code, which users
    have: the older one makes loops of some reductions, whose cost XLA doesn't count, and rounds
    otherwise where a program has more to do.

    Gives the options that bring it, for a test that compiles by itself.
    """
    compile_, newer = jax.stages.Lowered.compile, dict.fromkeys(OLDER_CODE, True)

    def compile_newer(self, compiler_options=None):
        return compile_(self, {**newer, **(compiler_options or {})})

    def jit(step):
        return jax.jit(step, donate_argnums=0, compiler_options=newer)

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile_newer)
    monkeypatch.setattr("famus_jax.uses.train_step._jit", jit)
    return newer
