// The table of results: a line per method, sorted by the column that was chosen.

const rows = data.experiments.flatMap((one) => one.rows.map((row) => ({ ...row, experiment: one.name })));
const many = data.experiments.length > 1;
const measured = data.columns.filter((column) => rows.some((row) => column.key in row.values));
const words = [
  ...(many ? [["experiment", "Experiment"]] : []),
  ["method", "Method"],
  ...(rows.some((row) => row.estimator) ? [["estimator", "Estimator"]] : []),
];

function compare(key) {
  if (words.some(([name]) => name === key)) return (a, b) => a[key].localeCompare(b[key]);
  if (key === "seeds") return (a, b) => a.seeds.length - b.seeds.length;
  return (a, b) => a.values[key][0] - b.values[key][0];
}

function sorted() {
  if (!chosen.sort) return rows;
  const [key, way] = chosen.sort;
  const known = (row) => words.some(([name]) => name === key) || key === "seeds" || key in row.values;
  const order = compare(key);
  const sign = way === "descending" ? -1 : 1;
  return [...rows.filter(known).sort((a, b) => sign * order(a, b)), ...rows.filter((row) => !known(row))];
}

function heading(key, title, meaning, kind) {
  const now = chosen.sort && chosen.sort[0] === key ? chosen.sort[1] : null;
  const button = element("button", { type: "button", title: meaning, "data-key": key }, title);
  button.addEventListener("click", () => {
    const first = kind === "words" || ["step_cost", "seconds"].includes(key) ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    keep({ sort: now === first ? [key, other] : now === other ? null : [key, first] });
    showTable();
    find("table").querySelector(`[data-key="${key}"]`).focus();
  });
  return element("th", { scope: "col", class: kind, ...(now ? { "aria-sort": now } : {}) }, button);
}

// A long name, which may go on in the next line after "_".
const broken = (text) => text.split(/(?<=_)/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));

function showTable() {
  const tops = {}; // of each experiment
  for (const { key } of measured.filter((column) => /^(acc|top5|weight_auroc)/.test(column.key)))
    for (const { name } of data.experiments) {
      const others = rows.filter((row) => row.experiment === name && key in row.values && !row.bound);
      const values = others.map((row) => row.values[key][0]);
      if (values.length > 1) tops[`${name} ${key}`] = Math.max(...values);
    }
  const head = element(
    "tr", {},
    ...words.map(([key, title]) => heading(key, title, "", "words")),
    heading("seeds", "Seeds", "how many seeds are finished", ""),
    ...measured.map((column) => heading(column.key, column.title, column.meaning, "")),
  );
  const spreads = Object.fromEntries(measured.map(({ key }) => [key, rows.some((row) => row.values[key] && row.values[key][1] !== null)]));
  const lines = sorted().map((row) =>
    element(
      "tr", {},
      ...words.map(([key], i) => element(i === words.length - 1 && i === 0 ? "th" : key === "method" ? "th" : "td", { class: "words", ...(key === "method" ? { scope: "row" } : {}) }, ...broken(row[key] || "–"))),
      element("td", { title: row.seeds.join(", ") }, row.seeds.length === row.of ? String(row.of) : `${row.seeds.length} of ${row.of}`),
      ...measured.map(({ key, digits }) => {
        if (!(key in row.values)) return element("td", {}, "–", ...(spreads[key] ? [element("span", { class: "pm" }, "")] : []));
        const [mean, spread] = row.values[key];
        const said = spread === null ? "" : `± ${number(spread, digits)}`;
        return element("td", { class: tops[`${row.experiment} ${key}`] === mean && !row.bound ? "top-value" : "" }, number(mean, digits), ...(spreads[key] ? [element("span", { class: "pm" }, said)] : []));
      }),
    ),
  );
  find("table").replaceChildren(element("caption", { class: "hidden" }, "Results by method"), element("thead", {}, head), element("tbody", {}, ...lines));
}
