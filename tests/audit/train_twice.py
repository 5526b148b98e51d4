"""Plain training on a set's labels, once for each seed: its accuracies on clean images, as JSON.

python tests/audit/train_twice.py SET.npz SEED...
"""

import json
import sys

import jax.numpy as jnp
import numpy as np

from experiments.label_issues.baselines import accuracy, train_plain
from famus_jax.audit.networks import choose

if __name__ == "__main__":
    found = np.load(sys.argv[1])
    choice, images = choose(found["images"], 10), jnp.asarray(found["images"])
    trained = [train_plain(choice, images, found["labels"], int(seed)) for seed in sys.argv[2:]]
    print(
        json.dumps([accuracy(choice, t.variables, found["test"], found["truth"]) for t in trained])
    )
