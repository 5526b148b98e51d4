"""The page of experiments, in headless Chromium, and the numbers on it."""

import json
import re

import pytest
from browser import Browser
from report.work import make

from famus_jax.cli import main
from famus_jax.lock import alone_in
from famus_jax.report import charts
from famus_jax.report.command import follow
from famus_jax.report.page import names_of, page_content
from famus_jax.report.read import read_directory

# The lowest contrast (WCAG 2) of any text that is shown, on the nearest ground behind it.
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function rgba(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
function luminance([r, g, b]) {
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
function ground(element) {
  for (let at = element; at; at = at.parentElement) {
    const color = rgba(getComputedStyle(at).backgroundColor);
    if (color[3] === 1) return color;
  }
  return [255, 255, 255, 1];
}
let least = [99, ""];
let count = 0;
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const ink = rgba(element instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [luminance(ink), luminance(ground(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  count += 1;
  if (ratio < least[0]) least = [ratio, element.textContent];
}
return [...least, count];
"""


def cells(browser):
    """The table of results, as text."""
    rows = browser.run(
        "return [...document.querySelectorAll('#table tr')].map(row => "
        "[...row.cells].map(cell => cell.textContent))"
    )
    return [[re.sub(r"\s+", " ", text) for text in row] for row in rows]


def test_the_page(tmp_path):
    """Fails for a console error, a request, a table that doesn't sort, text too pale or too wide."""
    one = read_directory(make(tmp_path / "one"))
    two = read_directory(make(tmp_path / "two", finished=False, noise_rate=0.2))
    browser = Browser()
    try:
        browser.open(page_content([one, two], reload=3600))
        rows = cells(browser)
        best = rows[0].index("Last, %")
        # 60, 70, 80: mean 70, standard deviation sqrt((100 + 0 + 100) / 2) = 10; by two seeds
        # 60, 70: 65 and sqrt(50).
        assert [row[best] for row in rows[1:]] == ["70.0± 10.0"] * 3 + ["65.0± 7.1"]
        assert [row[rows[0].index("Seeds")] for row in rows[1:]] == ["3", "3", "3", "2 of 3"]
        browser.click("[data-key=acc_last]")
        browser.click("[data-key=acc_last]")
        assert [row[best] for row in cells(browser)[1:]] == ["65.0± 7.1"] + ["70.0± 10.0"] * 3
        assert (
            browser.run("return document.querySelector('[aria-sort] button').dataset.key")
            == "acc_last"
        )
        browser.press("\ue007")  # Enter, on the heading: the order of before
        assert cells(browser) == rows
        titles = browser.run(
            "return [...document.querySelectorAll('h2, h3')].map(x => x.textContent)"
        )
        for title in ("Differences of the configs", "Accuracy on the test labels", "Noise as made"):
            assert title in titles
        assert "Open layers" not in titles  # nobody recorded them
        assert "data.noise_rate" in browser.text("#sections")
        # The keyboard tells values: the first point of cross-entropy, 50, 75 and 65 %.
        browser.run("document.querySelector('.chart.main svg').focus()")
        browser.press("\ue014")
        assert "step 10" in browser.text("#tip")
        assert "63.3 ± 12.6" in browser.text("#tip")
        browser.run("document.activeElement.blur()")
        drawn = "return document.querySelectorAll('.chart.main path.mean').length"
        before = browser.run(drawn)
        browser.click(".chart.main .keys-list button")
        assert browser.run(drawn) == before - 1
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            for width in (400, 1600):
                browser.size(width)
                wide = browser.run("return document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, width
                ratio, text, count = browser.run(CONTRAST)
                assert ratio >= 4.5, (scheme, width, text)
                assert count > 100
        browser.click("#pause")
        browser.reload()
        assert browser.text("#live-text") == "Live, paused"
        assert browser.run(drawn) == before - 1  # what was put out stays so
        messages, asked = browser.log()
        assert messages == []
        assert {url.rpartition("/")[2] for url in asked} == {"page.html"}
    finally:
        browser.close()


def test_numbers_of_charts(tmp_path):
    """Fails for a spread over n, shares that don't add up to 100, weights of the wrong interval."""
    one = read_directory(make(tmp_path / "one"))
    accuracy = charts.curves(one)[0]
    mean = accuracy["series"][0]["mean"]
    assert [point[0] for point in mean] == [10, 20]
    assert mean[1][1:] == pytest.approx([70, 10])
    assert accuracy["series"][0]["seeds"][2] == [[10, 65], [20, 80]]
    (weights,) = charts.histograms(one)
    assert weights["sides"] == {"right": [10, 20, 70], "wrong": [60, 30, 10]}
    (by_loss,) = charts.weights_by_loss(one)
    assert [point[:2] for point in by_loss["series"][-1]["mean"]] == [[0, 1.5], [1, 1.2], [3, 0.4]]
    (noise,) = charts.matrices(one)
    assert noise["values"] == [[60, 40], [30, 70]]
    run = one.runs[0]._replace(method="mlc", result={"learned_transition": [[1, 0.25], [0, 0.75]]})
    (learned,) = charts.matrices(one._replace(runs=(run,)))
    assert learned["title"].startswith("Learned: MLC")
    assert learned["values"] == [[100, 25], [0, 75]]


def test_hostile_names_stay_text(tmp_path):
    """Fails if a name of a folder ends the script's data, or becomes markup in the title."""
    folder = make(tmp_path / "<script><b>")
    content = page_content([read_directory(folder)]).decode()
    assert "<b>" not in content
    assert names_of([read_directory(folder)]) == ["<script><b>"]


def data_of(page):
    """The numbers in the file."""
    found = re.search(r'id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def test_command_follows_until_it_is_done(tmp_path, capsys):
    """Fails if --follow ends while a run goes on, or goes on when none does."""
    work, out = make(tmp_path / "work", finished=False), tmp_path / "report.html"
    seen = []
    lock = alone_in(work)
    lock.__enter__()

    def sleep(seconds):
        page = data_of(out)
        seen.append((seconds, page["reload"], page["experiments"][0]["state"]))
        if len(seen) == 2:
            lock.__exit__(None, None, None)

    follow([work], out, 5.0, sleep)
    assert seen == [(5.0, 5.0, "running")] * 2
    page = data_of(out)
    assert (page["reload"], page["experiments"][0]["state"]) == (None, "stopped")
    assert main(["famus", "report", str(tmp_path), f"--out={out}"]) == 1
    assert "no work directory" in capsys.readouterr().err
    assert main(["famus", "report", str(work), "--out=report.txt"]) == 2
