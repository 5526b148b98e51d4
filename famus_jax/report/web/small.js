// Histograms, matrices, lists of names and values.

const SIDES = { right: "right labels", wrong: "wrong labels", unknown: "labels, right or wrong" };

function histogram(one) {
  const height = 190;
  const svg = drawn("svg", { role: "img", height });
  const sides = Object.entries(one.sides);
  const said = sides.map(([side, shares]) => {
    const mean = shares.reduce((sum, share, i) => sum + (share * (one.edges[i] + one.edges[i + 1])) / 2, 0) / 100;
    return [side, `${SIDES[side]}, mean ${number(mean, 2)}`];
  });
  svg.setAttribute("aria-label", `Weights, ${one.title}: ${said.map((s) => s[1]).join("; ")}`);
  const keys = element("div", { class: "keys-list" });
  for (const [side, text] of said)
    keys.append(element("span", { class: "key" }, swatch(side === "unknown" ? "var(--accent)" : `var(--${side})`), text));
  function draw() {
    const width = svg.getBoundingClientRect().width;
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const last = Math.max(...sides.map(([, shares]) => shares.findLastIndex((share) => share > 0))) + 1;
    const top = Math.max(...sides.flatMap(([, shares]) => shares)) * 1.05;
    const end = one.edges[Math.min(one.edges.length - 1, Math.max(last, 12))];
    const yTicks = ticksOf(0, top, 4);
    const box = { width, height, left: 14 + 6.6 * Math.max(...yTicks.map((t) => t[1].length)), right: 14, top: 20, bottom: 36 };
    const xs = scale(0, end, box.left, width - box.right);
    const ys = scale(0, top, height - box.bottom, box.top);
    const over = one.edges[one.edges.length - 1] === end;
    const xTicks = ticksOf(0, end, Math.max(3, width / 80)).map(([at, text]) => [at, over && at === end ? `≥ ${text}` : text]);
    frame(svg, box, xs, ys, xTicks, yTicks, "weight (1 = plain training)", "% of labels");
    for (const [side, shares] of sides) {
      let d = `M${xs(0)} ${ys(0)}`;
      shares.slice(0, Math.max(last, 12)).forEach((share, i) => {
        d += `L${xs(one.edges[i]).toFixed(1)} ${ys(share).toFixed(1)}L${xs(one.edges[i + 1]).toFixed(1)} ${ys(share).toFixed(1)}`;
      });
      svg.append(drawn("path", { class: `area ${side}`, d: `${d}L${xs(end)} ${ys(0)}Z` }));
    }
  }
  redraws.push(draw);
  return element("figure", { class: "chart" }, element("header", {}, element("h3", {}, one.title)), svg, keys);
}

function matrix(one) {
  const size = one.values.length;
  const head = element("tr", {}, element("td"), ...one.values.map((_, i) => element("th", { scope: "col" }, String(i))));
  head.firstChild.style.background = "none";
  const lines = one.values.map((line, i) =>
    element("tr", {}, element("th", { scope: "row" }, String(i)), ...line.map((value) => {
      const cell = element("td", { class: value < 0.05 ? "zero" : "" }, value < 0.05 ? "·" : number(value, 0));
      // Half of the accent at most: the text on it stays readable.
      cell.style.setProperty("--heat", `${Math.min(45, value * 0.45).toFixed(1)}%`);
      return cell;
    })),
  );
  const table = element("table", { class: "heat" }, element("thead", {}, head), element("tbody", {}, ...lines));
  const note = element("p", { class: "note" }, one.note);
  const shown = size > 30 ? element("p", { class: "note" }, `${size} classes: too many to show`) : element("div", { class: "heat-box", tabindex: "0", role: "region", "aria-label": one.title }, table);
  return element("figure", { class: "chart" }, element("header", {}, element("h3", {}, one.title)), shown, note);
}

function pairs(lines, head) {
  const body = lines.map(([name, ...values]) => element("tr", {}, element("th", { scope: "row" }, name), ...values.map((text) => element("td", { class: "mono", dir: "auto" }, text))));
  const top = head ? [element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))))] : [];
  return element("table", { class: head ? "pairs" : "pairs two" }, ...top, element("tbody", {}, ...body));
}
