"""A trained network with all that predicting needs, in one folder: what `famus predict` reads.

    types            what a predictor is: network, classes, pre-processing, arrays
    saved            its folder: `predictor.json`, sealed, and `arrays.npz`
    probabilities    from images, features or texts to probabilities
    inputs           image files, folders, tables and arrays, as batches of what the network takes
    text_inputs      tables of texts
    table            predictions as a table

>>> from famus_jax.predictor import load_predictor, predict
"""

from famus_jax.predictor.probabilities import logits, predict
from famus_jax.predictor.saved import is_predictor, load_predictor, save_predictor
from famus_jax.predictor.types import Features, Images, Network, Predictor, PretrainedImages, Texts

__all__ = [
    "Features",
    "Images",
    "Network",
    "Predictor",
    "PretrainedImages",
    "Texts",
    "is_predictor",
    "load_predictor",
    "logits",
    "predict",
    "save_predictor",
]
