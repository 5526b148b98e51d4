"""`python -m famus_jax.cli` is the command `famus`."""

import sys

from famus_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
