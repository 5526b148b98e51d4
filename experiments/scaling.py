"""How the cost of a step grows with depth, width, batch, meta batch, layer groups, active groups.

python experiments/scaling.py --json=PATH --picture=PATH
"""

import sys

from famus_jax.bench.scaling import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
