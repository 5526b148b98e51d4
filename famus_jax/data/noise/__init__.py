"""Label noise: which labels are wrong is a function of (seed, example id).

transition      a transition matrix, and labels drawn from it
kinds           the kinds of noise in the literature, also with exact counts
presets         noise by name: a kind, or what a paper's released code does
instance        noise that depends on what an example looks like
files           noise tables in files, ours and the published ones
cifar_classes   CIFAR's classes, superclasses and look-alikes
cli             `famus noise`
"""
