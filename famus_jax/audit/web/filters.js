// Which rows are shown: every filter that is set has to let a row through.

const ANY = -2;
const BINS = 25;
const wanted = {
  text: "",
  issue: false,
  undecided: false,
  misfit: false,
  given: ANY,
  suggested: ANY,
  low: 0,
  high: 100,
};
let haystack = null; // ids and texts in lower case, made at the first search

function passes(row) {
  if (wanted.issue && !data.issue[row]) return false;
  if (wanted.misfit && !data.misfit[row]) return false;
  if (wanted.undecided && store.decided[row]) return false;
  if (wanted.given !== ANY && data.given[row] !== wanted.given) return false;
  if (wanted.suggested !== ANY && data.suggested[row] !== wanted.suggested) return false;
  if (wanted.low > 0 || wanted.high < 100) {
    const p = data.wrong[row];
    if (p === null || 100 * p < wanted.low || 100 * p > wanted.high) return false;
  }
  return !wanted.text || haystack[row].includes(wanted.text);
}

function filterRows() {
  if (wanted.text)
    haystack ??= data.ids.map((id, row) => `${id}\n${data.texts[row] ?? ""}`.toLowerCase());
  view.order = [];
  for (let row = 0; row < COUNT; row++) if (passes(row)) view.order.push(row);
}

// After a filter has changed: the item in focus stays, or the next one that is shown takes its place.
function filtersChanged() {
  filterRows();
  view.current = nextShown(view.current);
  const top = find("work").getBoundingClientRect().top;
  if (top < 0) scrollBy(0, top);
  drawFilters();
  drawAll();
  say(`${counted(view.order.length, "item")} shown`);
}

// The row itself if it is shown, else the next one, else the last.
function nextShown(row) {
  const at = lowerBound(view.order, Math.max(row, 0));
  return view.order[Math.min(at, view.order.length - 1)] ?? -1;
}

function drawFilters() {
  for (const chip of document.querySelectorAll("[data-filter]"))
    chip.setAttribute("aria-pressed", String(wanted[chip.dataset.filter]));
  for (const which of ["given", "suggested"]) {
    const any = wanted[which] === ANY;
    find(`${which}-value`).replaceChildren(any ? "any" : classText(wanted[which]));
    find(`${which}-filter`).classList.toggle("set", !any);
  }
  find("low").value = wanted.low;
  find("high").value = wanted.high;
  find("range-value").textContent =
    wanted.low === 0 && wanted.high === 100 ? "any" : `${wanted.low}–${wanted.high} %`;
  [...find("histogram").children].forEach((bar, bin) => {
    const inside = ((bin + 1) * 100) / BINS > wanted.low && (bin * 100) / BINS < wanted.high;
    bar.classList.toggle("outside", !inside);
  });
  const set = isFiltered();
  find("clear-filters").hidden = !set;
  find("filters-toggle").classList.toggle("set", set);
}

const isFiltered = () =>
  wanted.text ||
  wanted.issue ||
  wanted.undecided ||
  wanted.misfit ||
  wanted.given !== ANY ||
  wanted.suggested !== ANY ||
  wanted.low > 0 ||
  wanted.high < 100;

function clearFilters() {
  Object.assign(wanted, {
    text: "",
    issue: false,
    undecided: false,
    misfit: false,
    given: ANY,
    suggested: ANY,
    low: 0,
    high: 100,
  });
  find("search").value = "";
  filtersChanged();
}

function chooseClass(which) {
  const counts = new Map();
  for (const at of data[which]) counts.set(at, (counts.get(at) ?? 0) + 1);
  const present = [...counts.keys()].sort((a, b) => a - b);
  const choices = present.map((at) => ({
    value: at,
    name: className(at),
    note: counts.get(at).toLocaleString("en-US"),
    none: at < 0,
  }));
  choices.unshift({ value: ANY, name: "any", note: COUNT.toLocaleString("en-US"), none: true });
  openPicker(
    which === "given" ? "Only items with the given label" : "Only items whose suggestion is",
    choices,
    (value) => {
      wanted[which] = value;
      filtersChanged();
    },
  );
}

// How many labels are how probably wrong, behind the range that is chosen.
function drawHistogram() {
  const bins = new Array(BINS).fill(0);
  for (const p of data.wrong) if (p !== null) bins[Math.min(BINS - 1, Math.floor(p * BINS))]++;
  const most = Math.max(1, ...bins);
  find("histogram").replaceChildren(
    ...bins.map((size) => {
      const bar = element("span", {});
      bar.style.height = size ? `${Math.max(8, 100 * Math.sqrt(size / most))}%` : "0";
      return bar;
    }),
  );
}

function startFilters() {
  drawHistogram();
  const total = (flags) => flags.reduce((sum, one) => sum + one, 0).toLocaleString("en-US");
  find("issue-count").textContent = total(data.issue);
  find("misfit-count").textContent = total(data.misfit);
  for (const chip of document.querySelectorAll("[data-filter]"))
    chip.addEventListener("click", () => {
      wanted[chip.dataset.filter] = !wanted[chip.dataset.filter];
      filtersChanged();
    });
  find("given-filter").addEventListener("click", () => chooseClass("given"));
  find("suggested-filter").addEventListener("click", () => chooseClass("suggested"));
  find("search").addEventListener("input", () => {
    wanted.text = find("search").value.trim().toLowerCase();
    filtersChanged();
  });
  for (const which of ["low", "high"])
    find(which).addEventListener("input", () => {
      wanted[which] = Number(find(which).value);
      if (wanted.low > wanted.high) wanted[which] = which === "low" ? wanted.high : wanted.low;
      filtersChanged();
    });
  for (const button of document.querySelectorAll(".clear-filters"))
    button.addEventListener("click", clearFilters);
  find("filters-toggle").addEventListener("click", () => {
    const open = find("filters").classList.toggle("open");
    find("filters-toggle").setAttribute("aria-expanded", String(open));
    layout();
  });
}
