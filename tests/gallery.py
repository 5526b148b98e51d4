"""Pages of docs/gallery as code: the cells of a MyST notebook, and what stands in its front matter."""

import re
import shlex
import warnings
from pathlib import Path
from typing import NamedTuple

import yaml

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
_CELL = re.compile(
    r"^```\{code-cell\}[^\n]*\n((?::[^\n]*\n)*)\n?(.*?)^```$", re.DOTALL | re.MULTILINE
)

_SHELL = re.compile(r"^!(famus .*)$", re.MULTILINE)


class Cell(NamedTuple):
    """One block of code: its tags, and its source."""

    tags: tuple[str, ...]
    code: str


class Page(NamedTuple):
    """A page; the front matter says all but its name, text and cells.

    Attributes:
      short: the parameters of a quick run.
      own_process: the first cell must speak before JAX starts.
      slow: dear even when short.
      needs: a package that the tests can do without, or "".
    """

    name: str
    text: str
    cells: tuple[Cell, ...]
    short: dict[str, object]
    own_process: bool = False
    slow: bool = False
    needs: str = ""


def read(path: Path) -> Page:
    """The page in a file."""
    text = path.read_text()
    _, front, body = text.split("---\n", 2)
    said = yaml.safe_load(front)
    for name in ("kernelspec", "file_format"):  # for myst-nb
        said.pop(name)
    cells = tuple(
        Cell(tuple(re.findall(r"[\w-]+", options.partition("[")[2])), code)
        for options, code in _CELL.findall(body)
    )
    return Page(path.stem, body, cells, **{"short": {}, **said})


def sources(page: Page, short: bool) -> list[str]:
    """The cells' code in order; for a short run each parameter is set anew behind the parameters' cell,
    as papermill does."""
    found = []
    for cell in page.cells:
        found.append(cell.code)
        if short and "parameters" in cell.tags:
            found.append("\n".join(f"{name} = {value!r}" for name, value in page.short.items()))
    return found


def run(page: Page, short: bool) -> dict[str, object]:
    """Runs the cells and returns the names that they leave; pictures are drawn and closed."""
    import matplotlib.pyplot as plt

    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(sources(page, short)):
        code = _SHELL.sub(r"__import__('gallery').famus(r'''\1''', globals())", cell)
        exec(compile(code, f"{page.name}.md, cell {number}", "exec"), names)
        for figure in plt.get_fignums():
            plt.figure(figure).canvas.draw()
        plt.close("all")
    return names


def famus(line: str, names: dict[str, object]) -> None:
    """A line `!famus ...`, which a notebook gives to a shell, as a call in this process; `{name}` is
    filled in as IPython does. Raises where the command fails."""
    from famus_jax.cli import main

    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a process of its own does not make errors of them
        failed = main(shlex.split(line.format(**names)))
    if failed:
        raise RuntimeError(f"it failed: {line}")
