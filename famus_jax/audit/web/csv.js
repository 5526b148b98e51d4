// decisions.csv: RFC 4180 in UTF-8; a cell that a spreadsheet would run as a formula begins with an
// apostrophe, as in all tables of famus.

const HEADER = ["id", "label", "decision", "new_label"];
const WORDS = ["right", "wrong", "relabel"];
const FORMULA = /^'* *[=+\-@\t\r＝＋－＠]/u;

const quoteFormula = (text) => (FORMULA.test(text) ? `'${text}` : text);
const unquoteFormula = (text) =>
  text.startsWith("'") && FORMULA.test(text) ? text.slice(1) : text;

const cellOf = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const lineOf = (cells) => `${cells.map((text) => cellOf(quoteFormula(text))).join(",")}\r\n`;

// Rows of cells with the line that each begins on; throws an Error that names the line.
function parseCsv(text) {
  const rows = [];
  let cells = [];
  let cell = "";
  let line = 1;
  let began = 1;
  let state = "start"; // of a cell; then "plain", "quoted" or "closed"
  const endRow = () => {
    if (cells.length || cell || state === "closed")
      rows.push({ cells: [...cells, cell], line: began });
    cells = [];
    cell = "";
    state = "start";
  };
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (c === "\n" || (c === "\r" && text[at + 1] !== "\n")) line++;
    if (state === "quoted") {
      if (c !== '"') cell += c;
      else if (text[at + 1] === '"') cell += text[++at];
      else state = "closed";
    } else if (c === ",") {
      cells.push(cell);
      cell = "";
      state = "start";
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[at + 1] === "\n") {
        at++;
        line++;
      }
      endRow();
      began = line;
    } else if (c === '"' && state === "start") state = "quoted";
    else if (state === "closed") throw new Error(`line ${line}: text behind a closing quote`);
    else {
      cell += c;
      state = "plain";
    }
  }
  if (state === "quoted") throw new Error(`line ${began}: a quote is opened and never closed`);
  endRow();
  return rows;
}

// All that was decided, also of items that this page doesn't show.
function decisionsCsv() {
  const lines = [HEADER, ...store.carried];
  store.decided.forEach((decision, row) => {
    if (!decision) return;
    const label = data.given[row] < 0 ? "" : data.classes[data.given[row]];
    const renamed = decision.to < 0 ? "" : data.classes[decision.to];
    lines.push([data.ids[row], label, decision.word, renamed]);
  });
  return lines.map(lineOf).join("");
}

// What a file says: changes of rows here, and lines about items that this page doesn't show. Throws an
// Error that names the line, and the fix, for whatever `read_decisions` would refuse too.
function readDecisions(text) {
  const [header, ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
  if (!header) throw new Error("the file is empty");
  const names = header.cells.map((name) => name.trim());
  const columns = HEADER.map((name) => names.indexOf(name));
  if (columns.includes(-1)) {
    const fix =
      names.length === 1 && /[;\t]/.test(names[0])
        ? "save it with commas"
        : "is it the right file?";
    throw new Error(`it has no column “${HEADER[columns.indexOf(-1)]}”; ${fix}`);
  }
  const changes = new Map();
  const carried = new Map();
  for (const { cells, line } of rows) {
    const where = `line ${line}`;
    if (cells.length !== names.length)
      throw new Error(`${where}: ${cells.length} cells, but the header has ${names.length}`);
    const [id, label, word, renamed] = columns.map((at) => unquoteFormula(cells[at]));
    const row = store.rowOf.get(id);
    const to = knownClass(where, renamed);
    const given = knownClass(where, label);
    checkDecision(where, word, given, to);
    if (row !== undefined && data.given[row] !== given)
      throw new Error(
        `${where}: “${id}” has ${label ? `the label “${label}”` : "no label"} in the file, but ` +
          `“${className(data.given[row])}” here: the data changed since; remove the line`,
      );
    if (!word) continue;
    const seen = row === undefined ? carried.get(id) : changes.get(row);
    const same =
      seen &&
      (row === undefined
        ? seen[2] === word && seen[3] === renamed
        : seen.word === word && seen.to === to);
    if (seen && !same)
      throw new Error(`${where}: “${id}” is decided twice, and not alike; keep one line`);
    if (row === undefined) carried.set(id, [id, label, word, renamed]);
    else changes.set(row, { word, to });
  }
  return { changes, carried };
}

function knownClass(where, name) {
  const at = name ? store.classOf.get(name) : -1;
  if (at === undefined)
    throw new Error(`${where}: there is no class “${name}” here; correct the name`);
  return at;
}

function checkDecision(where, word, given, to) {
  if (word && !WORDS.includes(word))
    throw new Error(`${where}: “${word}” is no decision; write right, wrong or relabel`);
  if (word === "relabel" && to < 0)
    throw new Error(`${where}: relabel without a new_label; name the class`);
  if (word === "relabel" && to === given)
    throw new Error(`${where}: relabeled to its own label; write right`);
  if (word !== "relabel" && to >= 0)
    throw new Error(`${where}: a new_label without “relabel”; empty it`);
  if (["right", "wrong"].includes(word) && given < 0)
    throw new Error(`${where}: “${word}”, but there is no label; relabel it or empty the decision`);
}
