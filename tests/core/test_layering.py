"""What imports what."""

import ast
import pathlib
import subprocess
import sys

import pytest

import famus_jax

PACKAGE = pathlib.Path(famus_jax.__file__).parent
FILES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py"))


def imports(path):
    """Absolute module names that a file imports anywhere, functions included."""
    package = path.with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse((PACKAGE.parent / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(x for x in (base, node.module) if x)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def below(names, prefix):
    return {name for name in names if name == prefix or name.startswith(prefix + ".")}


# Bottom to top: each may import itself and those before it.
ENGINE = ("memory.py", "layers", "differentiate", "core", "gates", "methods", "uses")


@pytest.mark.parametrize("path", [f for f in FILES if f.parts[1] in ENGINE[:4]], ids=str)
def test_core_needs_jax_and_optax_only(path):
    """Fails on a flax, numpy or data-set import, also inside a function, or one from further up."""
    own = ENGINE[: ENGINE.index(path.parts[1]) + 1]
    allowed = [f"famus_jax.{name.removesuffix('.py')}" for name in own]
    for name in imports(path):
        top = name.split(".")[0]
        fine = top in ("jax", "optax") or top in sys.stdlib_module_names
        assert fine or any(below([name], prefix) for prefix in allowed), f"{path} imports {name}"


_ABOVE = ("famus_jax.models", "famus_jax.data", "famus_jax.train", "famus_jax.benchmark")


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [
        ("models", ("famus_jax.core", "famus_jax.uses", "famus_jax.methods", *_ABOVE[1:])),
        (
            "data",
            ("famus_jax.core", "famus_jax.uses", "famus_jax.methods", _ABOVE[0], *_ABOVE[2:]),
        ),
        ("gates", ("famus_jax.uses", "famus_jax.methods", "flax", *_ABOVE)),
        (
            "methods",
            (
                "famus_jax.core.estimator",
                "famus_jax.core.update",
                "famus_jax.gates",
                "famus_jax.uses",
                "flax",
                *_ABOVE,
            ),
        ),
        ("uses", ("famus_jax.gates", "famus_jax.methods", "flax", *_ABOVE)),
        ("train", ("famus_jax.benchmark", "famus_jax.report")),
        ("report", ("famus_jax.audit", "famus_jax.benchmark", "famus_jax.core", "famus_jax.uses")),
        ("web", ("famus_jax.audit", "famus_jax.report", "famus_jax.train")),
        ("benchmark", ("famus_jax.train", "famus_jax.data")),
        ("", ("experiments", "configs", "tests")),
    ],
    ids=[
        "models",
        "data",
        "gates",
        "methods",
        "uses",
        "train",
        "report",
        "web",
        "benchmark",
        "everything",
    ],
)
def test_layers(layer, forbidden):
    """The bottom knows nothing of the top."""
    chosen = [path for path in FILES if not layer or path.parts[1] == layer]
    assert chosen
    for path in chosen:
        for prefix in forbidden:
            assert not below(imports(path), prefix), f"{path} imports {prefix}"


def test_import_is_light():
    """`import famus_jax` brings in what jax and optax bring in, and the package itself.

    Fails on flax, a data-set library or TensorFlow at import time.
    """
    code = (
        "import sys, jax, jax.extend.core, optax; before = set(sys.modules); import famus_jax; "
        + ("print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    extra = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"famus_jax", "jax", "optax"}
    assert not extra

    code = "import sys, famus_jax; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {
        "flax",
        "tensorflow",
        "tensorflow_datasets",
        "ml_collections",
        "orbax",
        "PIL",
        "matplotlib",
    }
