"""Trains what a config describes.

python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart
"""

import sys

from famus_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["famus", "train", *sys.argv[1:]]))
