"""How close cheaper meta gradients come to the exact one along real training runs.

python experiments/fidelity.py --config=configs/fidelity.py --workdir=runs/fidelity
"""

import sys

from famus_jax.bench.fidelity import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
