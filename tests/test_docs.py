"""The site: a page with an example for every public name, code that runs, links that lead somewhere."""

import importlib
import inspect
import re
import runpy
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
api_pages = importlib.import_module("api_pages")
sys.path.remove(str(DOCS))

PAGES = sorted(p for p in ROOT.rglob("*.md") if not {"_build", "api"} & set(p.parts[-3:-1]))
PAGES = [p for p in PAGES if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
PAGES = [p for p in PAGES if "runs" not in p.relative_to(ROOT).parts]
# Modules whose every function has an example in its docstring. Of the others, it is not so yet.
WITH_EXAMPLES = (
    *("famus_jax", "famus_jax.methods", "famus_jax.losses", "famus_jax.evidence"),
    *("famus_jax.parallel", "famus_jax.predictor"),
)


@pytest.mark.parametrize("module", api_pages.MODULES)
def test_every_public_name_has_a_page(module, tmp_path):
    """Fails for a name without a docstring; where all functions have an example, for one without."""
    names = api_pages.public_names(module)
    assert names
    for name in names:
        public = getattr(importlib.import_module(module), name)
        page = api_pages.name_page(module, name)
        assert page.startswith(f"# {name}\n")
        if inspect.isroutine(public):
            assert inspect.getdoc(public)
            if module in WITH_EXAMPLES:
                assert ">>> " in page, f"{module}.{name} has no example"


def test_pages_of_names_that_are_gone_go(tmp_path):
    (tmp_path / "famus_jax.gone.md").write_text("x")
    api_pages.write_pages(tmp_path)
    assert not (tmp_path / "famus_jax.gone.md").exists()
    made = {path.name for path in tmp_path.iterdir()}
    assert {"index.md", "famus_jax.md", "famus_jax.mwnet.md"} <= made


def test_a_docstring_as_markdown():
    """By hand. Fails if sections, examples or stars are lost."""
    doc = """Adds *two* numbers, x_1 and `x_2`.

    Args:
      x_1: the first;
        it may be long.
      x_2: the second.

    Raises:
      ValueError: never.

    Example:
      >>> 1 + 1
      2
    """
    assert api_pages.as_markdown(doc).splitlines() == [
        r"Adds \*two\* numbers, x\_1 and `x_2`.",
        "",
        "**Args**",
        "",
        "* `x_1`: the first; it may be long.",
        "* `x_2`: the second.",
        "",
        "**Raises**",
        "",
        "* `ValueError`: never.",
        "",
        "**Example**",
        "",
        "```python",
        ">>> 1 + 1",
        "2",
        "```",
    ]


@pytest.mark.parametrize("page", ["start", "no_trusted_labels", "add_your_own"])
def test_code_on_a_page_runs(page, tmp_path):
    """Fails for a block that does not run after those above it."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    with jax.numpy_rank_promotion("allow"):  # as a reader's own jax does
        runpy.run_path(str(script))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Fails for a relative link to a file that is not there, or to a heading that its page lacks."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} is not there"
        if heading:
            assert heading in slugs(file.read_text()), f"{target}: no such heading"


def slugs(text):
    """Headings as GitHub names them."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = []
    for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower().strip()
        found.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found
