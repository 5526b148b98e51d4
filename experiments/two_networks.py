"""Two networks: one program, or one after the other?

python experiments/two_networks.py --model=cnn --batch=64 --json=PATH
"""

import sys

from famus_jax.bench.two_networks import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
