"""Step cost of every estimator.

python experiments/benchmark.py --model=wrn_28_2 --batch=32 --json=PATH
"""

import sys

from famus_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["famus", "benchmark", *sys.argv[1:]]))
