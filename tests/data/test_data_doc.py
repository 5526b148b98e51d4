"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import famus_jax.data

MODULES = [
    name
    for _, name, is_package in pkgutil.walk_packages(famus_jax.data.__path__, "famus_jax.data.")
    if not is_package and ".builders." not in name
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
