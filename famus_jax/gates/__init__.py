"""Learned gates (FaMUS, https://arxiv.org/abs/2104.15092, §4): a kind of active layers, on top of the
core."""

from famus_jax.gates.learned_gates import LearnedGates, gate_preset, learned_gates

__all__ = ["LearnedGates", "gate_preset", "learned_gates"]
