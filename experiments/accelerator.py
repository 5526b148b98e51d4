"""Pieces of work for an accelerator.

python experiments/accelerator.py --list
"""

import sys

from famus_jax.bench.accelerator import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
