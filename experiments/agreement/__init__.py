"""How close cheaper meta gradients come to the exact one: `at_start` of a network, and along runs."""
