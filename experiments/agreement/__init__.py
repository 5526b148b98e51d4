"""How close cheaper meta gradients come to the exact one: at a network's start, and along training runs."""
