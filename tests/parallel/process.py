"""One process of `test_processes`: an experiment, and which rows it read.

Arguments: coordinator, processes, process, config as JSON, workdir, flags.
"""

import json
import sys

import jax

from famus_jax import parallel
from famus_jax.data import InMemoryStream
from famus_jax.parallel.processes import start
from famus_jax.train import data_setup, experiment
from famus_jax.train.clock import Clock, TimeIsUp
from famus_jax.train.placement import Placement


def main(coordinator, count, index, config, workdir, *flags):
    jax.config.update("jax_platforms", "cpu")
    start(coordinator, int(count), int(index))
    if "--other-labels" in flags and int(index):
        honest = data_setup.seed_data

        def other(*args):
            seeded = honest(*args)
            return seeded._replace(noisy=seeded.noisy[::-1].copy())

        data_setup.seed_data = other
    batch_of, read = InMemoryStream.batch, set()

    def batch(stream, step):
        found = batch_of(stream, step)
        if stream._batch_size == 16:
            read.add(stream._rows)
            assert len(found["index"]) == stream._rows[1] - stream._rows[0]
        return found

    InMemoryStream.batch = batch
    if "--stop" in flags and int(index):  # a clock that is behind the first one's
        experiment.Clock = lambda minutes: Clock(1e6)
    placement = Placement(parallel.data_mesh(), "--fsdp" in flags)
    try:
        experiment.run_experiment(
            json.loads(config),
            workdir,
            show=lambda text: print("famus wrote") if "written" in text else None,
            placement=placement,
            max_minutes=1e-9 if "--stop" in flags else None,
        )
    except TimeIsUp as up:
        print(up)
        return 0
    except ValueError as error:
        print(error)
        return 1
    print("famus read", json.dumps([i for rows in read for i in range(*rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
