"""How close cheaper meta gradients come to the exact one: at the start, and along training runs."""
