// The data, elements and numbers.

const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// What the reader chose, kept over a reload of the same page.
const KEPT = "famus report";
const chosen = (() => {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) || {};
  } catch {
    return {};
  }
})();
function keep(changes) {
  Object.assign(chosen, changes);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(chosen));
  } catch {
    // A browser that keeps nothing: the page works, and begins anew.
  }
}

function filledIn(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children); // strings become text, never markup
  return made;
}
const element = (tag, properties = {}, ...children) =>
  filledIn(document.createElement(tag), properties, children);
const drawn = (tag, properties = {}, ...children) =>
  filledIn(document.createElementNS(SVG, tag), properties, children);

const number = (value, digits) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// A number of a chart: three digits that count.
function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return number(value, size >= 1000 ? 0 : digits);
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${number(seconds / 3600, 1)} h`;
  return `${number(seconds / 86400, 1)} days`;
}

const color = (series, ordered) =>
  ordered ? `var(--t${Math.min(3, series.color)})` : `var(--s${series.color % 10})`;
const swatch = (paint) => {
  const made = element("i", { "aria-hidden": "true" });
  made.style.background = paint;
  return made;
};
