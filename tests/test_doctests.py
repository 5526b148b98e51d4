"""Every example in a docstring of the package runs and prints what it says."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import famus_jax

PACKAGE = Path(famus_jax.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name):
    """Fails if an example raises, or prints something else."""
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


# Records and namespaces: the functions that make them have the examples.
RECORDS = {
    *("ActiveLayers", "Draw", "Estimator", "Inputs", "Layers", "MetaState", "Problem"),
    *("ReweightState", "Reweighter", "Seen", "StepInfo", "TrainState", "TrainStep", "__version__"),
    *("losses", "methods"),
}


@pytest.mark.parametrize("name", famus_jax.__all__)
def test_every_public_name_has_a_docstring_and_functions_an_example(name):
    """Fails for a public function or method without an example."""
    public = getattr(famus_jax, name)
    text = inspect.getdoc(public) or ""
    assert text
    assert name in RECORDS or ">>> " in text, f"famus_jax.{name} has no example"


def test_there_are_few_top_level_names():
    """Methods and losses are in namespaces beside them."""
    assert len(famus_jax.__all__) <= 46
