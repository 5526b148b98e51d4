"""Evidence on labels: what a training tells of each of them, and the label issues that follow from it."""
