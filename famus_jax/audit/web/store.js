// Decisions, undo, and what the browser keeps. A decision is {word, to}: to is the new class or -1.

const store = {
  decided: new Array(COUNT).fill(null),
  carried: [], // cells of decisions about items that this page doesn't show
  history: [], // {before: [[row, decision]], carried, row}
  rowOf: new Map(data.ids.map((id, row) => [id, row])),
  classOf: new Map(data.classes.map((name, at) => [name, at])),
  recent: [], // classes lately relabeled to
  kept: true, // whether the browser keeps decisions over a reload
  warned: false, // that it doesn't
  saved: true, // whether all is in a file, as far as the page knows
};

const STORAGE_KEY = `famus-audit-${data.fingerprint}`;

function initialDecision(row) {
  const said = data.decided[row];
  return said ? { word: said[0], to: said[1] } : null;
}

const alike = (a, b) => (a && a.word) === (b && b.word) && (a ? a.to : -1) === (b ? b.to : -1);

const countDecided = () => store.decided.reduce((sum, one) => sum + (one ? 1 : 0), 0);

// Sets some decisions as one step that can be undone; `carried` replaces what is carried.
function change(changes, carried = store.carried) {
  const before = changes.map(([row]) => [row, store.decided[row]]);
  store.history.push({ before, carried: store.carried, row: view.current });
  apply(changes, carried);
}

function apply(changes, carried) {
  for (const [row, decision] of changes) store.decided[row] = decision;
  store.carried = carried;
  store.saved = false;
  keep();
}

// Takes the last step back; returns the row that was in focus then, or -1 if there is none.
function undo() {
  const last = store.history.pop();
  if (!last) return -1;
  apply(last.before, last.carried);
  return last.before.length === 1 ? last.before[0][0] : last.row;
}

// Keeps what differs from what the page came with. A browser may refuse: then it only isn't kept.
function keep() {
  const changed = {};
  store.decided.forEach((one, row) => {
    if (!alike(one, initialDecision(row))) changed[data.ids[row]] = one && [one.word, one.to];
  });
  try {
    if (Object.keys(changed).length || store.carried.length)
      localStorage.setItem(STORAGE_KEY, JSON.stringify({ changed, carried: store.carried }));
    else localStorage.removeItem(STORAGE_KEY);
    store.kept = true;
  } catch {
    store.kept = false;
  }
}

// Takes up what the browser kept; returns how many decisions that were, or -1 if it keeps nothing. What
// does not look as this page would have written it is left alone.
function restore() {
  let kept;
  try {
    kept = JSON.parse(localStorage.getItem(STORAGE_KEY) || "null");
  } catch (error) {
    if (!(error instanceof SyntaxError)) return -1;
  }
  store.decided = store.decided.map((_, row) => initialDecision(row));
  if (!kept || typeof kept.changed !== "object" || !Array.isArray(kept.carried)) return 0;
  let taken = 0;
  for (const [id, said] of Object.entries(kept.changed ?? {})) {
    const row = store.rowOf.get(id);
    if (row === undefined) continue;
    const [word, to] = Array.isArray(said) ? said : ["", -1];
    try {
      if (!Number.isInteger(to) || to < -1 || to >= data.classes.length) continue;
      checkDecision("", word, data.given[row], to);
    } catch {
      continue;
    }
    store.decided[row] = word ? { word, to } : null;
    taken++;
  }
  const wellFormed = (line) =>
    Array.isArray(line) && line.length === 4 && line.every((c) => typeof c === "string");
  store.carried = kept.carried.filter((line) => wellFormed(line) && !store.rowOf.has(line[0]));
  return taken + store.carried.length;
}

// Forgets what the browser kept: back to what the page came with.
function forget() {
  change(
    store.decided.map((_, row) => [row, initialDecision(row)]),
    [],
  );
}
