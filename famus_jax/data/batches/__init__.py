"""Batches: the batch at step t is a function of (seed, t).

stream       what a training loop needs to know of data
order        which examples batch t holds
pixels       stored pixels to network input
in_memory    sets that lie on the device
evaluation   every example once
streaming    sets that are read from disk, ahead of their use
"""
