"""The paper's tables beside our runs. The command: `experiments.reproduction`."""
