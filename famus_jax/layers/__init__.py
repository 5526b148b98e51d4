"""What a layer is: an ordered partition of any pytree of parameters, found by tracing the network."""
