"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import famus_jax.models

MODULES = [m.name for m in pkgutil.iter_modules(famus_jax.models.__path__, "famus_jax.models.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
