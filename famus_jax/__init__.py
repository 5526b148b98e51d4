"""famus_jax: learn, while training, how much each example's label deserves to count."""
