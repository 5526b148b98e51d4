"""What the noise models need to know about CIFAR's classes."""

from __future__ import annotations

import numpy as np

CIFAR10 = (
    "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
)

# Superclass (0 … 19) of each of the 100 fine classes, in the order of CIFAR-100's label numbers
# (alphabetical): row 0 is apple in "fruit and vegetables" (4). Krizhevsky 2009, table of classes.
CIFAR100_SUPERCLASS = np.array(
    [
        *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
        *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
        *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
        *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
        *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
    ]
)
CIFAR100_SUPERCLASS.setflags(write=False)

# Where each CIFAR-10 class goes when it is mistaken. Patrini et al. 2017 and DivideMix: truck ->
# automobile, bird -> airplane, deer -> horse, cat <-> dog; a copy in CMW-Net leaves dogs alone.
CIFAR10_MISTAKES = {
    "dividemix": (0, 1, 0, 5, 7, 3, 6, 7, 8, 1),
    "cmwnet": (0, 1, 0, 5, 7, 5, 6, 7, 8, 1),
}
