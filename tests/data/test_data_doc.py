"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import famus_jax.data

MODULES = [
    name
    for _, name, is_package in pkgutil.iter_modules(famus_jax.data.__path__, "famus_jax.data.")
    if not is_package
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
