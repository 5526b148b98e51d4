"""Steps compiled for a TPU that is not here, and what their compiler says of them."""
