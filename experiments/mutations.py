"""Would a test notice? Named mistakes, put into the code one at a time, and the tests that must fail.

    python -m experiments.mutations            # all, about half a minute each on two cores
    python -m experiments.mutations --only=alpha

A mutation that no test notices is a survivor: the command prints it and ends with status 1. Each is
made in a copy of the repository, in which the tests must pass without it. They are mistakes that a
person could make, and that once passed every quick test of their area; blind mutations of every
operator (mutmut, cosmic-ray) take days here, since each needs compilations.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from famus_jax.progress import track

ROOT = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """One mistake.

    Attributes:
      name: in a word or two.
      file: where, from the root.
      right, wrong: the text as it is, which must be there once, and what it becomes.
      tests: the quick tests of that area, as arguments of pytest.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


CORE, GATES = "famus_jax/core", "famus_jax/gates"
TWO = "famus_jax/train/two_networks"
MUTATIONS = (
    Mutation(
        "micro-batch keys",
        "famus_jax/differentiate/micro_batches.py",
        "return how(forward, params, state, key(i), rows(i), layers)",
        "return how(forward, params, state, key(i + 1), rows(i), layers)",
        ("tests/differentiate/test_micro_batches.py",),
    ),
    Mutation(
        "micro-batch states",
        "famus_jax/differentiate/micro_batches.py",
        "state = jax.tree.map(lambda x: x[i], states)",
        "state = jax.tree.map(lambda x: x[0], states)",
        ("tests/differentiate/test_micro_batches.py",),
    ),
    Mutation(
        "draw one step late",
        f"{CORE}/stages.py",
        "return jax.tree.map(lambda queue: queue[0], state.draws)",
        "return jax.tree.map(lambda queue: queue[-1], state.draws)",
        ("tests/core/test_random_layers.py", "tests/core/test_programs.py"),
    ),
    Mutation(
        "closed layers move",
        f"{CORE}/virtual_step.py",
        "return layers.place(layers.part(ahead, active), w, active) if only else ahead",
        "return ahead",
        ("tests/core/test_meta_gradient.py", "tests/core/test_optimizer_step.py"),
    ),
    Mutation(
        "alpha one step ahead",
        "famus_jax/uses/train_step.py",
        "return at_step(self._step_size, state.step)",
        "return at_step(self._step_size, state.step + 1)",
        ("tests/uses/test_train_step.py",),
    ),
    Mutation(
        "own probabilities",
        f"{TWO}/advance.py",
        "self._tables[1 - k]",
        "self._tables[k]",
        ("tests/train/two_networks/test_two_networks.py",),
    ),
    Mutation(
        "own split",
        f"{TWO}/advance.py",
        "clean[1 - k], meta_clean[1 - k], k)",
        "clean[k], meta_clean[k], k)",
        ("tests/train/two_networks/test_two_networks.py",),
    ),
    Mutation(
        "the same rows in every step",
        f"{CORE}/examples.py",
        "jax.random.fold_in(jax.random.fold_in(key, _ROWS), step)",
        "jax.random.fold_in(jax.random.fold_in(key, _ROWS), 0 * step)",
        ("tests/core/test_examples_and_control_variate.py",),
    ),
    Mutation(
        "meta batch with the training batch's key",
        f"{CORE}/problem.py",
        "return self.derived_rng(_META)",
        "return self.rng",
        ("tests/core/test_meta_gradient.py", "tests/core/test_update.py"),
    ),
    Mutation(
        "a bad batch stays",
        f"{CORE}/guard.py",
        "fine &= (jnp.isfinite(after) | ~jnp.isfinite(before)).all()",
        "fine &= True",
        ("tests/uses/test_nonfinite.py",),
    ),
    Mutation(
        "padding wraps to the last example",
        "famus_jax/memory.py",
        "return jnp.where(index < 0, x.shape[0], index)",
        "return index",
        ("tests/test_memory.py",),
    ),
    Mutation(
        "the first of two rows is kept",
        "famus_jax/memory.py",
        "& (number[:, None] < number[None, :])",
        "& (number[:, None] > number[None, :])",
        ("tests/test_memory.py",),
    ),
    Mutation(
        "a bad batch is remembered",
        "famus_jax/memory.py",
        "write = fine & ~again.any(1)",
        "write = ~again.any(1)",
        ("tests/test_memory.py",),
    ),
    Mutation(
        "SOP's v learns from cross-entropy",
        "famus_jax/methods/sop.py",
        "jax.lax.stop_gradient(v)",
        "v",
        ("tests/methods/test_sop.py",),
    ),
    Mutation(
        "MentorNet's threshold is that of the batch before",
        "famus_jax/methods/mentormix.py",
        "losses <= average",
        "losses <= carried.average",
        ("tests/methods/test_mentormix.py",),
    ),
    Mutation(
        "MentorMix forgets the first curriculum",
        "famus_jax/methods/mentormix.py",
        'Mentors(batch["curriculum"], ',
        "Mentors(mentors.given, ",
        ("tests/methods/test_mentormix.py",),
    ),
    Mutation(
        "the average begins at the random start",
        "famus_jax/uses/average.py",
        "jnp.maximum(1 - decay, 1 / step)",
        "jnp.maximum(1 - decay, 0.0 * step)",
        ("tests/uses/test_average.py",),
    ),
    Mutation(
        "co-teaching learns what it finds easy itself",
        "famus_jax/methods/co_teaching.py",
        "easy[:, ::-1]",
        "easy",
        ("tests/methods/test_co_teaching.py",),
    ),
    Mutation(
        "ELR+ is told its own average",
        "famus_jax/train/peer_targets.py",
        '"peer": said[1 - k]',
        '"peer": said[k]',
        ("tests/train/test_peer_targets.py",),
    ),
    Mutation(
        "ELR+'s targets are not mixed",
        "famus_jax/methods/elr_plus.py",
        'mixed = share * t + (1 - share) * t[own["partner"]]',
        "mixed = t",
        ("tests/methods/test_elr_plus.py",),
    ),
    Mutation(
        "the beta mixture's variance is not weighted",
        "famus_jax/methods/beta_mixture.py",
        "(r * (x - mean) ** 2).sum() / r.sum()",
        "((x - mean) ** 2).mean()",
        ("tests/methods/test_beta_mixture.py",),
    ),
    Mutation(
        "M-correction believes the losses of training mode",
        "famus_jax/train/loss_correction.py",
        "predict(params, model_state, None, batch)[0]",
        "logits",
        ("tests/train/test_loss_correction.py",),
    ),
    Mutation(
        "ELR's target moves with the prediction",
        "famus_jax/methods/elr.py",
        "p = jax.lax.stop_gradient(probabilities(outputs))",
        "p = probabilities(outputs)",
        ("tests/methods/test_elr.py",),
    ),
    Mutation(
        "the last head, not the last that counts",
        "famus_jax/layers/find.py",
        "key=lambda i: not reached.isdisjoint(runs[i])",
        "key=lambda i: True",
        ("tests/layers/test_reach.py",),
    ),
    Mutation(
        "the actual step under the old theta",
        f"{CORE}/update.py",
        "problem, estimator, new_theta, inputs, training, virtual",
        "problem, estimator, theta, inputs, training, virtual",
        ("tests/core/test_update.py",),
    ),
    Mutation(
        "variate subtracted the other way",
        f"{CORE}/stages.py",
        "jax.tree.map(jnp.subtract, exact.theta, meta.theta)",
        "jax.tree.map(jnp.subtract, meta.theta, exact.theta)",
        ("tests/core/test_examples_and_control_variate.py",),
    ),
    Mutation(
        "importance weights left out",
        f"{CORE}/active_gradient.py",
        "kept = d if factors is None else _times(layers, d, active, factors)",
        "kept = d",
        ("tests/core/test_random_layers.py",),
    ),
    Mutation(
        "sum of weights over examples that are not there",
        "famus_jax/losses/imbalanced.py",
        "return scale(own) * own.shape[0] * losses",
        "return scale(own) * losses",
        ("tests/test_losses.py",),
    ),
    Mutation(
        "curvature of a step ahead",
        f"{CORE}/unrolled.py",
        "return (add(w_bar, curved), s_bar,",
        "return (w_bar, s_bar,",
        ("tests/core/test_unrolled.py",),
    ),
    Mutation(
        "state of a step ahead",
        f"{CORE}/unrolled.py",
        "return (add(w_bar, curved), s_bar,",
        "return (add(w_bar, curved), [0 * x for x in s_bar],",
        ("tests/core/test_unrolled.py",),
    ),
    Mutation(
        "key of the first step ahead",
        f"{CORE}/unrolled.py",
        "jnp.where(j == 0, rng,",
        "jnp.where(j == -1, rng,",
        ("tests/core/test_unrolled.py",),
    ),
    Mutation(
        "a frozen parameter's gradient",
        f"{CORE}/trainable.py",
        "[jnp.zeros_like(x) for x in self.frozen(params)]",
        "[jnp.ones_like(x) for x in self.frozen(params)]",
        ("tests/core/test_trainable.py",),
    ),
)


def survives(mutation: Mutation) -> bool:
    """Whether the tests of its area pass although the mistake is in the code.

    Raises:
      ValueError: if the text to be changed is not there once, or the tests could not be run.
    """
    with _copied() as copy:
        path = copy / mutation.file
        text = path.read_text()
        if text.count(mutation.right) != 1:
            raise ValueError(
                f"{mutation.name}: {mutation.file} holds {mutation.right!r} "
                f"{text.count(mutation.right)} times, not once: mend the list of mutations"
            )
        path.write_text(text.replace(mutation.right, mutation.wrong))
        done = _tested(copy, mutation.tests)
    if done.returncode not in (0, 1):
        raise ValueError(f"{mutation.name}: pytest ended with {done.returncode}:\n{done.stdout}")
    return done.returncode == 0


def refuse_failing(tests: Sequence[str]) -> None:
    """Raises `ValueError` unless the tests pass in a copy in which nothing is changed.

    One that fails there anyway would seem to notice every mistake.
    """
    with _copied() as copy:
        done = _tested(copy, tests)
    if done.returncode:
        raise ValueError(
            f"without any mistake in the code, pytest ended with {done.returncode}:\n{done.stdout}"
        )


@contextlib.contextmanager
def _copied() -> Iterator[Path]:
    """A copy of the repository, but for what is hidden and what runs have left."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        left_out = shutil.ignore_patterns(".*", "runs", "results", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=left_out)
        yield copy


def _tested(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-n", "0", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status, 1 if a mutation survives."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.mutations",
        description="Would a test notice? Named mistakes, put in one at a time.",
    )
    parser.add_argument("--only", default="", help="mutations whose name holds this")
    only = parser.parse_args(arguments).only
    chosen = [m for m in MUTATIONS if only in m.name]
    if not chosen:
        parser.error(f"no mutation has a name with {only!r} in it")
    refuse_failing(list(dict.fromkeys(test for mutation in chosen for test in mutation.tests)))
    survivors = []
    for mutation in track(chosen, "mutation"):
        lives = survives(mutation)
        print(f"{'SURVIVES' if lives else 'noticed '}  {mutation.name}", flush=True)
        survivors += [mutation.name] if lives else []
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
