"""Ways to differentiate a forward pass, functions of one type that compose.

`linearize` and `finite_difference`; then `micro_batched(how, count)` for less memory and
`on_all_devices(how, axis)` for programs that run once per device.
"""
