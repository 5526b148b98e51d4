// The page from top to bottom; live while an experiment runs.

function stateCard(one) {
  const card = element("section", { class: "state-card", "aria-label": `State of ${one.name}` });
  card.append(element("span", { class: `badge ${one.state}` }, one.state));
  if (many) card.append(element("b", {}, one.name));
  const said = [];
  if (one.progress !== null && one.state !== "done") {
    card.append(element("progress", { max: "1", value: String(one.progress), "aria-label": "Progress" }));
    said.push(`${Math.floor(100 * one.progress)} % done`);
    if (one.left !== null) said.push(`about ${duration(one.left)} left`);
  }
  if (one.total) said.push(one.state === "done" ? `${number(one.total, 0)} steps` : `${number(one.done, 0)} of ${number(one.total, 0)} steps`);
  if (one.state === "running" && one.what) said.push(one.what);
  said.push(`last written ${new Date(1000 * one.at).toLocaleString("en-US", { dateStyle: "medium", timeStyle: "short" })}`);
  card.append(element("span", {}, said.join(" · ")));
  for (const text of [one.message, ...one.problems]) if (text) card.append(element("p", { class: "note" }, text));
  return card;
}

function block(title, note, ...children) {
  const kept = children.filter(Boolean);
  return element("section", { class: "block" }, element("h2", {}, title), ...kept, ...(note ? [element("p", { class: "note below" }, note)] : []));
}

function details(id, title, ...children) {
  const made = element("details", { class: "box" }, element("summary", {}, title), ...children);
  made.open = (chosen.open || []).includes(id);
  made.addEventListener("toggle", () => {
    const others = (chosen.open || []).filter((name) => name !== id);
    keep({ open: made.open ? [...others, id] : others });
  });
  return made;
}

function experiment(one) {
  const parts = [];
  const shared = (chart) => ({ ...chart, group: one.name });
  const alone = (chart) => ({ ...chart, group: `${one.name} ${chart.title}` });
  const [accuracy, others] = [one.curves.filter((c) => c.key === "test_accuracy"), one.curves.filter((c) => c.key !== "test_accuracy")];
  if (accuracy.length) parts.push(block("Over time", others.length ? "The smaller charts have the colors of the first; its legend puts a method out in all of them." : "", lineChart(shared(accuracy[0]), 340, true), others.length && element("div", { class: "charts" }, ...others.map((chart) => lineChart(shared(chart), 210)))));
  const why = "Mean weight of the examples whose loss lies between two ticks, over the steps up to an evaluation; 1 is as much as in plain training.";
  if (one.byLoss.length) parts.push(block("Weight by loss, V(ℓ)", why, element("div", { class: "charts" }, ...one.byLoss.map((chart) => lineChart(alone(chart), 230, true)))));
  if (one.histograms.length) parts.push(block("Weights of right and wrong labels", "Each example’s mean weight in the second half of the run, of all finished seeds.", element("div", { class: "charts" }, ...one.histograms.map(histogram))));
  if (one.matrices.length) parts.push(block("From true class to label", "", element("div", { class: "charts" }, ...one.matrices.map(matrix))));
  const warned = one.rows.flatMap((row) => row.warnings.map((text) => `${[row.method, row.estimator].filter(Boolean).join(", ")}, ${text}`));
  if (warned.length) parts.push(details(`${one.name} warnings`, `Warnings (${warned.length})`, element("ul", {}, ...warned.map((text) => element("li", {}, text)))));
  if (one.provenance.length) parts.push(details(`${one.name} made`, "How it was made", pairs(one.provenance)));
  if (one.config.length) parts.push(details(`${one.name} config`, "Config", pairs(one.config)));
  if (!parts.length) return "";
  return element("section", { class: "experiment" }, ...(many ? [element("h2", {}, one.name)] : []), ...parts);
}

find("states").append(...data.experiments.map(stateCard));
if (measured.length) {
  find("results").hidden = false;
  showTable();
  const spread = rows.some((row) => Object.values(row.values).some((value) => value[1] !== null));
  find("legend").textContent = `${spread ? "Mean ± standard deviation over seeds (n − 1). " : ""}${measured.map((column) => `${column.title.replace(", %", "")}: ${column.meaning}`).join(". ")}.`;
}
if (many && data.differences.length)
  find("sections").append(block("Differences of the configs", "", element("div", { class: "wide" }, pairs(data.differences.map(([name, values]) => [name, ...values]), ["", ...data.experiments.map((one) => one.name)]))));
find("sections").append(...data.experiments.map(experiment));

redrawAll();
let waiting = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(redrawAll);
});

if (data.reload) {
  let left = data.reload;
  let paused = Boolean(chosen.paused);
  const button = find("pause");
  const tell = () => {
    find("live-text").textContent = paused ? "Live, paused" : `Live: again in ${left} s`;
    button.textContent = paused ? "Go on" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
  };
  find("live").hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    keep({ paused });
    tell();
  });
  left = Math.ceil(left);
  tell();
  setInterval(() => {
    if (paused || --left > 0) return tell();
    keep({ scroll: scrollY });
    location.reload();
  }, 1000);
}
if (chosen.scroll) {
  scrollTo(0, chosen.scroll);
  keep({ scroll: 0 });
}
document.documentElement.dataset.ready = "true";
