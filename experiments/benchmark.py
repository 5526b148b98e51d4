"""Step cost of every estimator.

python experiments/benchmark.py --model=wrn_28_2 --batch=32 --json=PATH
"""

import sys

from famus_jax.bench.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
