"""No module of the package needs one that needs it."""

import ast
import pathlib

import famus_jax

ROOT = pathlib.Path(famus_jax.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def needs(name):
    """Modules of ours that a file imports, in functions and for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {node.module}
    return (found & MODULES.keys()) - {name}


def test_no_cycles():
    """Fails for train/build and train/config as they were, each of which imported the other."""
    left = {name: needs(name) for name in MODULES}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, "in a cycle, or above one: " + ", ".join(sorted(left))
