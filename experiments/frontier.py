"""Accuracy against seconds.

python experiments/frontier.py time --config=configs/estimators.py --summary=PATH --json=PATH
"""

import sys

from famus_jax.bench.frontier import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
