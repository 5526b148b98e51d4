// Keys, buttons, files, and the start.

function drawProgress() {
  const done = countDecided();
  find("decided").textContent = done.toLocaleString("en-US");
  find("total").textContent = COUNT.toLocaleString("en-US");
  find("progress").value = COUNT ? done / COUNT : 0;
  find("undecided-count").textContent = (COUNT - done).toLocaleString("en-US");
  find("save").disabled = !done && !store.carried.length;
  find("shown").textContent =
    view.order.length === COUNT ? "" : `${view.order.length.toLocaleString("en-US")} shown`;
  const risk = !store.kept && !store.saved;
  find("save").classList.toggle("risk", risk);
}

function drawAll() {
  measure();
  drawProgress();
  paint();
  drawPanel();
}

function layout() {
  const bar = find("bar").getBoundingClientRect().height;
  document.documentElement.style.setProperty("--bar-height", `${bar}px`);
  const panel = find("panel");
  const covers = getComputedStyle(panel).position === "fixed";
  find("grid").style.marginBottom = covers ? `${panel.offsetHeight + 16}px` : "";
  measure();
  paint();
}

function focusOn(row, { byKey = false } = {}) {
  view.current = row;
  if (row >= 0) reveal();
  paint();
  drawPanel();
  if (byKey && row >= 0) view.cards.get(row)?.focus({ preventScroll: true });
}

function move(step, byKey = true) {
  if (!view.order.length) return;
  const at = lowerBound(view.order, Math.max(view.current, 0)) + step;
  focusOn(view.order[Math.max(0, Math.min(view.order.length - 1, at))], { byKey });
}

// What follows a change of decisions: filters look again, and the next item comes into focus.
function afterChange(row, { byKey = false, advance = true } = {}) {
  if (wanted.undecided) filterRows();
  const at = lowerBound(view.order, row);
  const stays = view.order[at] === row;
  view.current = nextShown(stays && advance ? (view.order[at + 1] ?? row) : row);
  drawProgress();
  measure();
  focusOn(view.current, { byKey });
}

function decide(row, decision, byKey) {
  if (row < 0) return;
  change([[row, decision]]);
  if (decision && decision.to >= 0)
    store.recent = [decision.to, ...store.recent.filter((at) => at !== decision.to)].slice(0, 5);
  afterChange(row, { byKey, advance: decision !== null });
  const word = decision
    ? `${decision.word} ${decision.to < 0 ? "" : className(decision.to)}`
    : "undecided";
  say(`${data.ids[row]}: ${word}. ${countDecided()} decided.`);
  if (!store.kept && !store.warned) warnUnkept();
}

function warnUnkept() {
  store.warned = true;
  notice(
    "warn",
    "This browser keeps nothing for this page: a reload would lose your decisions. ",
    "Save decisions.csv before you leave.",
  );
}

function relabelOther(row, byKey) {
  const given = data.given[row];
  const first = [...new Set([data.suggested[row], ...store.recent])].filter((at) => at !== given);
  const noted = new Map(
    first.map((at, place) => [at, place || at !== data.suggested[row] ? "recent" : "suggested"]),
  );
  const rest = data.classes.map((_, at) => at).filter((at) => at !== given && !noted.has(at));
  const choices = [...first, ...rest].map((at) => ({
    value: at,
    name: className(at),
    note: noted.get(at),
  }));
  openPicker("Relabel to", choices, (to) => decide(row, { word: "relabel", to }, byKey));
}

function act(action, row, byKey = false) {
  if (action === "undo") return takeBack(byKey);
  if (action === "next") return move(1, byKey);
  if (action === "previous") return move(-1, byKey);
  if (row < 0) return undefined;
  const labeled = data.given[row] >= 0;
  const suggested = data.suggested[row];
  if (action === "other") return relabelOther(row, byKey);
  if (action === "clear") return store.decided[row] ? decide(row, null, byKey) : undefined;
  if (action === "suggested") {
    if (suggested !== data.given[row])
      return decide(row, { word: "relabel", to: suggested }, byKey);
    return notice(
      "info",
      "The suggestion is the given label: R says that it is right, L gives it another.",
    );
  }
  if (labeled) return decide(row, { word: action, to: -1 }, byKey);
  return notice(
    "info",
    "This item has no label that could be right or wrong: S takes the suggestion, L another class.",
  );
}

function takeBack(byKey) {
  if (!store.history.length) return say("Nothing to undo");
  const row = undo();
  filterRows();
  hideNotice();
  afterChange(row, { byKey, advance: false });
  drawFilters();
  return say(`Undone. ${countDecided()} decided.`);
}

function save() {
  const url = URL.createObjectURL(new Blob([decisionsCsv()], { type: "text/csv" }));
  element("a", { href: url, download: "decisions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  store.saved = true;
  drawProgress();
  const more = store.carried.length
    ? `, and ${store.carried.length} of items that this page doesn't show`
    : "";
  notice("info", `decisions.csv holds ${counted(countDecided(), "decision")}${more}.`);
}

async function load(file) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    const { changes, carried } = readDecisions(text);
    const replaced = [...changes].filter(
      ([row, one]) => store.decided[row] && !alike(store.decided[row], one),
    ).length;
    const others = new Map(store.carried.map((line) => [line[0], line]));
    for (const [id, line] of carried) others.set(id, line);
    change([...changes], [...others.values()]);
    filterRows();
    afterChange(view.current, { advance: false });
    const parts = [`${counted(changes.size, "decision")} loaded`];
    if (replaced)
      parts.push(`${replaced} of them replaced another one of yours (U takes that back)`);
    if (carried.size)
      parts.push(
        `${carried.size} more are about items that this page doesn't show; they stay in what you save`,
      );
    notice("info", `${parts.join("; ")}.`);
  } catch (error) {
    const why = error instanceof TypeError ? "it is not text in UTF-8" : error.message;
    notice("error", "Nothing was loaded from ", own(file.name), ": ", element("bdi", {}, why), ".");
  }
}

const KEYS = {
  r: "right",
  w: "wrong",
  s: "suggested",
  l: "other",
  c: "clear",
  u: "undo",
  j: "next",
  k: "previous",
  Backspace: "clear",
  ArrowRight: "next",
  ArrowLeft: "previous",
};

function onKey(event) {
  const target = event.target;
  const typing = target.matches?.("input, textarea, select") || event.isComposing;
  if (document.querySelector("dialog[open]")) return;
  if (typing) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key.toLowerCase() === "z" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    return takeBack(true);
  }
  if (command || event.altKey) return undefined;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key.length === 1 && !find("keys-on").checked) return undefined;
  const steps = { ArrowDown: view.columns, ArrowUp: -view.columns, Home: -COUNT, End: COUNT };
  if (key in steps) move(steps[key]);
  else if (Object.hasOwn(KEYS, key)) act(KEYS[key], view.current, true);
  else if (key === "/") {
    find("filters").classList.add("open");
    layout();
    find("search").focus();
  } else if (key === "?") find("help").showModal();
  else if (key === "e") {
    find("evidence").open = !find("evidence").open;
    drawEvidence();
  } else return undefined;
  return event.preventDefault();
}

function onGridClick(event) {
  const card = event.target.closest(".card");
  if (!card) return;
  const row = Number(card.dataset.row);
  const button = event.target.closest("[data-action]");
  if (button) act(button.dataset.action, row);
  else focusOn(row);
}

function listen() {
  document.addEventListener("keydown", onKey);
  find("grid").addEventListener("click", onGridClick);
  find("panel").addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) act(button.dataset.action, view.current);
  });
  find("evidence").addEventListener("toggle", () => {
    drawEvidence();
    layout();
  });
  find("save").addEventListener("click", save);
  find("load").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", () => {
    const [file] = find("file").files;
    find("file").value = "";
    if (file) load(file);
  });
  find("help-open").addEventListener("click", () => find("help").showModal());
  find("help-close").addEventListener("click", () => find("help").close());
  let waiting = false;
  const soon = (work) => () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
  addEventListener("scroll", soon(paint), { passive: true });
  addEventListener("resize", soon(layout));
  new ResizeObserver(soon(layout)).observe(find("bar"));
  // The same page in another tab has decided: what both keep is one.
  addEventListener("storage", (event) => {
    if (event.key !== STORAGE_KEY) return;
    restore();
    filterRows();
    afterChange(view.current, { advance: false });
  });
  addEventListener("beforeunload", (event) => {
    if (!store.kept && !store.saved) event.preventDefault();
  });
}

function start() {
  startPicker();
  startFilters();
  listen();
  const taken = restore();
  filterRows();
  view.current = view.order[0] ?? -1;
  drawConfusion();
  drawFilters();
  drawAll();
  layout();
  if (taken < 0) store.kept = false;
  if (taken > 0)
    notice(
      "info",
      `${counted(taken, "decision")} of an earlier visit ${taken === 1 ? "is" : "are"} here again. `,
      element(
        "button",
        {
          type: "button",
          class: "text",
          onclick: () => {
            forget();
            filterRows();
            afterChange(view.current, { advance: false });
            hideNotice();
          },
        },
        "Begin anew",
      ),
    );
  document.documentElement.dataset.ready = "true";
}

start();
