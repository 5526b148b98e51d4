// The confusion of classes as a small heat map; a cell shows the items that it is about.

function short(value) {
  if (value < 0.5) return "·";
  if (value < 9999.5) return String(Math.round(value));
  return value < 999500 ? `${Math.round(value / 1000)}k` : `${(value / 1e6).toFixed(1)}M`;
}

function drawConfusion() {
  if (!data.confusion) return;
  const { shown, cells } = data.confusion;
  const most = Math.max(1e-9, ...cells.flatMap((line, r) => line.filter((_, c) => c !== r)));
  const head = element(
    "tr",
    {},
    element("td", {}),
    ...shown.map((at) => element("th", { scope: "col" }, own(data.classes[at]))),
  );
  const lines = cells.map((line, r) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, own(data.classes[shown[r]])),
      ...line.map((value, c) => confusionCell(value, most, shown[r], shown[c])),
    ),
  );
  find("confusion-table").replaceChildren(
    element("thead", {}, head),
    element("tbody", {}, ...lines),
  );
  find("confusion-note").textContent =
    shown.length < data.classes.length
      ? `The ${shown.length} most confused of ${data.classes.length.toLocaleString("en-US")} classes.`
      : "";
  find("confusion").hidden = false;
}

function confusionCell(value, most, truth, label) {
  if (truth === label) return element("td", { class: "diagonal" }, short(value));
  if (value < 0.5) return element("td", { class: "zero" }, short(value));
  const what = `labeled ${className(label)} that are ${className(truth)}`;
  const words = `About ${short(value)} ${what}: show them`;
  const show = () => {
    Object.assign(wanted, { given: label, suggested: truth });
    filtersChanged();
    find("work").scrollIntoView();
  };
  // Not on the way of the tab key, which would stop hundreds of times: both pickers do the same.
  const button = element(
    "button",
    { type: "button", tabIndex: -1, title: words, "aria-label": words, onclick: show },
    short(value),
  );
  const cell = element("td", {}, button);
  cell.style.setProperty("--heat", `${Math.round(12 + 58 * Math.sqrt(value / most))}%`);
  return cell;
}
