"""Our numbers beside the paper's: docs/reproduction.md from results/*.json.

python experiments/report.py
"""

import sys

from famus_jax.bench.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
