"""What a step of every estimator costs on this machine: `famus benchmark`."""
