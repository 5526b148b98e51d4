"""The pages of the API: one for every public name, from its docstring.

Docstrings here are plain text with code in backquotes, which is Markdown but for their sections (Args,
Returns, Raises, Attributes, Example) and examples; those are put into words of Markdown here.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

MODULES = {
    "famus_jax": "What is learned, and the three ways to use it",
    "famus_jax.methods": "Methods: what is learned about the labels",
    "famus_jax.losses": "Losses per example, for any method",
    "famus_jax.evidence": "What a training tells of every label",
    "famus_jax.parallel": "Meshes, and ways to compile for many devices",
    "famus_jax.predictor": "A trained network in one folder",
    "famus_jax.data": "Label noise, sources, splits, batches, augmentations",
    "famus_jax.models": "Flax networks",
}
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "Examples", "Yields")
_ENTRY = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*|`[^`]+`): (.*)", re.S)


def public_names(module: str) -> list[str]:
    """What a module offers, but for modules and numbers of the library itself."""
    found = importlib.import_module(module)
    names = [n for n in found.__all__ if not inspect.ismodule(getattr(found, n))]
    return sorted((n for n in names if n != "__version__"), key=str.lower)


def write_pages(folder: Path) -> None:
    """A page for every public name, one for every module, and one that lists the modules.

    Pages of names that are gone are removed; what has not changed is not written, so that Sphinx does
    not build it again.
    """
    folder.mkdir(exist_ok=True)
    pages = {"index.md": _index()}
    for module, title in MODULES.items():
        pages[f"{module}.md"] = _module_page(module, title)
        for name in public_names(module):
            pages[f"{module}.{name}.md"] = name_page(module, name)
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _index() -> str:
    lines = ["# API\n", "| module | |", "|---|---|"]
    lines += [f"| [`{module}`]({module}.md) | {title} |" for module, title in MODULES.items()]
    toctree = "\n".join(f"{module} <{module}.md>" for module in MODULES)
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"


def _module_page(module: str, title: str) -> str:
    names = public_names(module)
    rows = [f"| [`{n}`]({module}.{n}.md) | {_first_sentence(module, n)} |" for n in names]
    toctree = "\n".join(f"{n} <{module}.{n}.md>" for n in names)
    return (
        f"# {module}\n\n{title}.\n\n| name | |\n|---|---|\n"
        + "\n".join(rows)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"
    )


def name_page(module: str, name: str) -> str:
    """The page of one public name."""
    public = getattr(importlib.import_module(module), name)
    parts = [f"# {name}\n", f"```python\n{module}.{_signature(name, public)}\n```\n"]
    doc = _docstring(public)
    parts.append(as_markdown(doc) if doc else f"`{public!r}`\n")
    if inspect.isclass(public):
        parts += _methods(public)
    return "\n".join(parts)


def as_markdown(doc: str) -> str:
    """A docstring as Markdown.

    >>> print(as_markdown("Adds.\\n\\nArgs:\\n  x: a number.\\n\\n>>> 1 + 1\\n2"))
    Adds.
    <BLANKLINE>
    **Args**
    <BLANKLINE>
    * `x`: a number.
    <BLANKLINE>
    ```python
    >>> 1 + 1
    2
    ```
    <BLANKLINE>
    """
    out = []
    for title, body in _sections(inspect.cleandoc(doc)):
        if title:
            out.append(f"**{title}**\n")
        out.append(_entries(body) if title in SECTIONS[:4] else _prose(body))
    return "\n".join(out)


def _sections(doc: str) -> list[tuple[str, str]]:
    """The parts of a docstring with their titles, "" for what comes before the first."""
    found: list[tuple[str, list[str]]] = [("", [])]
    inside = False
    for line in doc.splitlines():
        title = line.rstrip().removesuffix(":")
        if line.rstrip().endswith(":") and title in SECTIONS:
            found.append((title, []))
            inside = True
        elif inside and line and not line.startswith(" "):
            found.append(("", [line]))
            inside = False
        else:
            found[-1][1].append(line)
    return [(t, textwrap.dedent("\n".join(b)).strip("\n")) for t, b in found if t or any(b)]


def _entries(body: str) -> str:
    """`name: what it is` as a list; anything else as prose."""
    blocks: list[list[str]] = []
    for line in body.splitlines():
        if line and not line.startswith(" ") and _ENTRY.match(line + " "):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
        else:
            return _prose(body)
    items = []
    for block in blocks:
        found = _ENTRY.match(re.sub(r"\s*\n\s*", " ", "\n".join(block)) + " ")
        assert found
        items.append(f"* `{found[1].strip('`')}`: {_escaped(found[2].strip())}")
    return "\n".join(items) + "\n"


def _prose(body: str) -> str:
    """Paragraphs, with examples and indented formulas as code."""
    out, block, kind = [], [], ""
    for line in [*body.splitlines(), ""]:
        starts = "python" if line.startswith(">>> ") else "text" if line.startswith("    ") else ""
        if kind == "python" and line and not starts:
            starts = "python"  # what an example prints
        if kind and starts != kind and not (kind == "text" and not line):
            out += [f"```{kind}", *_dedented(block), "```", ""]
            block, kind = [], ""
        if starts or kind:
            kind = kind or starts
            block.append(line)
        else:
            out.append(_escaped(line))
    if block:
        out += [f"```{kind}", *_dedented(block), "```", ""]
    return "\n".join(out).rstrip("\n") + "\n"


def _dedented(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).strip("\n").splitlines()


def _escaped(text: str) -> str:
    """Outside of code, what Markdown would take for its own."""
    parts = re.split(r"(`[^`]*`|https?://\S+)", text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([*_<>\[\]{}|~^])", r"\\\1", parts[i])
    return "".join(parts)


def _signature(name: str, public: Any) -> str:
    if not callable(public):
        return name
    try:
        parameters = inspect.signature(public)
    except (TypeError, ValueError):
        return name
    words = [_shown(p) for p in parameters.parameters.values()]
    star = next(
        (i for i, p in enumerate(parameters.parameters.values()) if p.kind is p.KEYWORD_ONLY),
        None,
    )
    if star is not None and not any(w.startswith("*") for w in words):
        words.insert(star, "*")
    line = f"{name}({', '.join(words)})"
    return line if len(line) < 90 else f"{name}(\n    " + ",\n    ".join(words) + ",\n)"


def _shown(parameter: inspect.Parameter) -> str:
    mark = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return mark + parameter.name
    default = parameter.default
    shown = getattr(default, "__name__", None) if callable(default) else None
    text = re.sub(r" at 0x[0-9a-f]+", "", shown or repr(default))
    return f"{mark}{parameter.name}={text}"


def _methods(public: type) -> list[str]:
    """The public methods of a class that its own file documents."""
    out = []
    for name, member in vars(public).items():
        call = name == "__call__"
        doc = inspect.getdoc(member)
        if (name.startswith("_") and not call) or not doc or not callable(getattr(public, name)):
            continue
        if isinstance(member, property) or doc.startswith("Alias for field number"):
            continue
        out += [f"## {name}\n", f"```python\n{_signature(name, member)}\n```\n", as_markdown(doc)]
    return out


def _docstring(public: Any) -> str:
    """Its own; not that of its type, for numbers and the like."""
    if not (inspect.isclass(public) or callable(public)):
        return ""
    return inspect.getdoc(public) or ""


def _first_sentence(module: str, name: str) -> str:
    doc = _docstring(getattr(importlib.import_module(module), name))
    return _escaped(re.split(r"(?<=[.:])\s", doc.replace("\n", " "), maxsplit=1)[0])
