"""Every page of docs/gallery runs: a short version always, the whole page with `-m slow`."""

import ast
import re
import subprocess
import sys

import gallery
import jax
import pytest

PAGES = [gallery.read(path) for path in sorted(gallery.FOLDER.glob("*.md")) if path.stem != "index"]
DEAR = [page for page in PAGES if page.slow or page.own_process]
CHEAP = [page for page in PAGES if page not in DEAR]


def named(pages):
    return [pytest.param(page, id=page.name) for page in pages]


@pytest.fixture(autouse=True)
def as_a_reader_has_it(monkeypatch, tmp_path):
    """Ranks are promoted as JAX does by default, and what a page writes is not kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib

    matplotlib.use("agg")
    with jax.numpy_rank_promotion("allow"):
        yield


def assigned(code):
    """The names that a cell sets, or None if it does anything else."""
    body = ast.parse(code).body
    if not all(isinstance(line, ast.Assign) for line in body):
        return None
    return {target.id for line in body for target in line.targets}


@pytest.mark.parametrize("page", named(PAGES))
def test_sizes_stand_in_one_cell(page):
    """Fails if a page has no parameters, or if the short run sets a name that the page doesn't."""
    cells = [cell for cell in page.cells if "parameters" in cell.tags]
    assert len(cells) == 1
    names = assigned(cells[0].code)
    assert names, "the cell of parameters sets names to values and does nothing else"
    assert page.short
    assert set(page.short) <= names


@pytest.mark.parametrize("page", named(PAGES))
def test_form(page):
    """One title, 60 to 160 lines, an end with what to take home and two links to pages that exist."""
    prose = re.sub(r"^```.*?^```$", "", page.text, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    assert 60 <= len(page.text.splitlines()) <= 160
    home = prose.partition("## Take home")[2]
    assert home
    assert len(re.findall(r"\]\(", home.partition("\nNext: ")[2])) == 2
    for link in re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", prose):
        assert (gallery.FOLDER / link).exists(), link


def test_the_index_has_every_page_in_its_list_and_in_its_tree():
    text = (gallery.FOLDER / "index.md").read_text()
    names = {page.name for page in PAGES}
    tree = text.partition("```{toctree}")[2].partition("```")[0]
    assert {line for line in tree.splitlines() if line and not line.startswith(":")} == names
    assert set(re.findall(r"\]\((\w+)\.md\)", text)) == names


@pytest.mark.parametrize("page", named(CHEAP))
def test_short(page):
    run_anywhere(page, short=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", named(DEAR))
def test_short_of_the_dear(page):
    run_anywhere(page, short=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", named(PAGES))
def test_whole(page):
    run_anywhere(page, short=False)


def run_anywhere(page, short):
    """In this process, or in one of its own where the first cell must speak before JAX starts."""
    if page.needs:
        pytest.importorskip(page.needs)
    if not page.own_process:
        gallery.run(page, short)
        return
    script = "\n".join(gallery.sources(page, short))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
