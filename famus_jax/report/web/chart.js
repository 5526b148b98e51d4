// Lines over steps: a mean, its standard deviation as a band, each seed as a thin line.

const redraws = [];
const redrawAll = () => redraws.forEach((draw) => draw());

// Lines that the reader has put out, by the name of a group of charts that share them.
const out = {};
const hiddenIn = (group) => (out[group] ??= new Set(chosen[`hidden ${group}`] || []));

// `chart.group`: the charts that share a legend, which the one that is `main` has.
function lineChart(chart, height, main) {
  const hidden = hiddenIn(chart.group);
  const svg = drawn("svg", { role: "img", tabindex: "0", height });
  const noted = [chart.note, chart.series.some((s) => s.mean.some((p) => p[2] !== null)) ? "mean ± sd" : ""];
  const keys = element("div", { class: "keys-list" });
  const figure = element(
    "figure",
    { class: main ? "chart main" : "chart" },
    element("header", {}, element("h3", {}, chart.title), element("span", {}, noted.filter(Boolean).join(" · "))),
    svg,
    keys,
  );
  let shown = { xs: [], at: -1 };

  const visible = () => chart.series.filter((series) => !hidden.has(series.name));

  function draw() {
    const width = svg.getBoundingClientRect().width;
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const some = visible().length ? visible() : chart.series;
    const lines = some.flatMap((s) => [s.mean, ...Object.values(s.seeds)]);
    const points = lines.flat();
    const ysOf = some.flatMap((s) => s.mean.flatMap(([, y, sd]) => (sd === null ? [y] : [y - sd, y + sd])));
    const [low, high] = rangeOf([...ysOf, ...points.map((p) => p[1])], chart.unit);
    const firstX = chart.ticks ? -0.3 : Math.min(0, ...points.map((p) => p[0]));
    const lastX = chart.ticks ? chart.ticks.length + 0.3 : Math.max(1, ...points.map((p) => p[0]));
    const yTicks = ticksOf(low, high, Math.max(2, height / 44));
    const longest = Math.max(...yTicks.map(([, text]) => text.length));
    const box = { width, height, left: 14 + 6.6 * longest, right: 14, top: chart.unit ? 20 : 10, bottom: 36 };
    const xs = scale(firstX, lastX, box.left, width - box.right);
    const ys = scale(low, high, height - box.bottom, box.top);
    let xTicks = chart.ticks;
    if (!xTicks) xTicks = ticksOf(firstX, lastX, Math.max(2, width / 90));
    else if (width < 420) xTicks = xTicks.filter((_, i) => i % 2 === 0);
    frame(svg, box, xs, ys, xTicks, yTicks, chart.x, chart.unit);
    const path = (line) => line.map(([x, y], i) => `${i ? "L" : "M"}${xs(x).toFixed(1)} ${ys(y).toFixed(1)}`).join("");
    for (const series of visible()) {
      const paint = color(series, chart.ordered);
      const spread = series.mean.filter((point) => point[2] !== null);
      if (spread.length > 1) {
        const above = path(spread.map(([x, y, sd]) => [x, Math.min(y + sd, high)]));
        const below = path(spread.map(([x, y, sd]) => [x, Math.max(y - sd, low)]).reverse());
        const band = drawn("path", { class: "band", d: `${above}${below.replace("M", "L")}Z` });
        band.style.fill = paint;
        svg.append(band);
      }
      const own = Object.values(series.seeds);
      const strokes = own.length > 1 ? own.map((line) => ["seed", line]) : [];
      for (const [kind, line] of [...strokes, ["mean", series.mean]]) {
        if (line.length === 1) {
          const dot = drawn("circle", { cx: xs(line[0][0]), cy: ys(line[0][1]), r: kind === "mean" ? 4 : 2 });
          dot.style.fill = paint;
          svg.append(dot);
        } else if (line.length) {
          const made = drawn("path", { class: kind, d: path(line) });
          made.style.stroke = paint;
          svg.append(made);
        }
      }
    }
    const cursor = drawn("g", { class: "cursor-group" });
    svg.append(cursor);
    shown = {
      ...shown, box, xScale: xs, yScale: ys, cursor,
      xs: [...new Set(visible().flatMap((s) => s.mean.map((p) => p[0])))].sort((a, b) => a - b),
    };
    svg.setAttribute("aria-label", `${chart.title}. Lines: ${chart.series.map((s) => s.name).join("; ")}. Arrow keys tell values.`);
  }

  function point(at, where) {
    if (at < 0 || at >= shown.xs.length) return;
    shown.at = at;
    const x = shown.xs[at];
    const left = shown.xScale(x);
    const { box, cursor } = shown;
    cursor.replaceChildren(drawn("line", { class: "cursor", x1: left, x2: left, y1: box.top, y2: box.height - box.bottom }));
    const rows = [];
    for (const series of visible()) {
      const found = series.mean.find((p) => p[0] === x);
      if (!found) continue;
      const dot = drawn("circle", { cx: left, cy: shown.yScale(found[1]), r: 3.5 });
      dot.style.fill = color(series, chart.ordered);
      cursor.append(dot);
      const said = found[2] === null ? short(found[1]) : `${short(found[1])} ± ${short(found[2])}`;
      rows.push([found[1], element("tr", {}, element("td", {}, swatch(color(series, chart.ordered))), element("td", {}, series.name), element("td", {}, said))]);
    }
    rows.sort((a, b) => b[0] - a[0]);
    let head = `${chart.x} ${number(x, 0)}`;
    if (chart.ticks) {
      const [before, after] = [chart.ticks[x - 1], chart.ticks[x]];
      head = `loss ${before ? `${before[1]} to ` : "below "}${after ? after[1] : ""}`;
      if (!after) head = `loss above ${before[1]}`;
    }
    showTip(head, rows.map((row) => row[1]), where || at_(svg, left));
  }

  svg.addEventListener("pointermove", (event) => {
    if (!shown.xs.length) return;
    const x = event.clientX - svg.getBoundingClientRect().left;
    let best = 0;
    shown.xs.forEach((value, i) => {
      if (Math.abs(shown.xScale(value) - x) < Math.abs(shown.xScale(shown.xs[best]) - x)) best = i;
    });
    point(best, [event.clientX, event.clientY]);
  });
  const leave = () => {
    hideTip();
    if (shown.cursor) shown.cursor.replaceChildren();
  };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") leave();
    if (!step) return;
    event.preventDefault();
    const from = shown.at < 0 ? (step > 0 ? -1 : shown.xs.length) : shown.at;
    point(Math.min(shown.xs.length - 1, Math.max(0, from + step)));
  });

  if (main) {
    for (const series of chart.series) {
      const button = element("button", { type: "button", "aria-pressed": String(!hidden.has(series.name)) }, swatch(color(series, chart.ordered)), series.name);
      button.addEventListener("click", () => {
        if (!hidden.delete(series.name)) hidden.add(series.name);
        button.setAttribute("aria-pressed", String(!hidden.has(series.name)));
        keep({ [`hidden ${chart.group}`]: [...hidden] });
        redrawAll();
      });
      keys.append(button);
    }
  } else if (chart.series.length === 1) keys.append(element("span", { class: "key" }, swatch(color(chart.series[0], chart.ordered)), chart.series[0].name));
  redraws.push(draw);
  return figure;
}

const at_ = (svg, left) => {
  const place = svg.getBoundingClientRect();
  return [place.left + left, place.top + place.height / 3];
};

function showTip(head, rows, [x, y]) {
  const tip = find("tip");
  tip.replaceChildren(element("b", {}, head), element("table", {}, element("tbody", {}, ...rows)));
  tip.setAttribute("role", "status");
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const right = x + 14 + size.width < innerWidth - 8;
  tip.style.left = `${Math.max(8, right ? x + 14 : x - 14 - size.width)}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 12, innerHeight - size.height - 8))}px`;
}
function hideTip() {
  find("tip").hidden = true;
}
