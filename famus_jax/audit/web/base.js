// The data, elements and numbers.

const data = JSON.parse(document.getElementById("data").textContent);
const COUNT = data.ids.length;
const NO_LABEL = "no label";

const find = (id) => document.getElementById(id);

// An element. Children that are strings become text, never markup. Properties: "on…" listens,
// "class", "aria-…", "data-…" and the like are attributes, all else is set on the object.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class" || name.includes("-") || name === "role" || name === "dir")
      made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// A text of the data: it reads in its own direction, and disturbs nothing around it.
const own = (text, kind = "own") => element("bdi", { class: kind, title: text }, text);

const className = (at) => (at < 0 ? NO_LABEL : data.classes[at]);

// A class as text: a name, or words that are no name.
const classText = (at, kind = "class-name") =>
  at < 0 ? element("span", { class: `${kind} none` }, NO_LABEL) : own(data.classes[at], kind);

function percent(p) {
  if (p === null) return "–";
  if (p > 0 && p < 0.001) return "< 0.1 %";
  if (p < 1 && p > 0.999) return "> 99.9 %";
  return `${(100 * p).toFixed(p < 0.0995 || p > 0.9895 ? 1 : 0)} %`;
}

const counted = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en-US")} ${number === 1 ? one : many}`;

// First position in ascending numbers that is not below `value`.
function lowerBound(numbers, value) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// What was just done, for those who listen to the page.
function say(text) {
  find("said").textContent = text;
}

// A message that stays until it is dismissed or replaced. Parts: strings and elements.
function notice(kind, ...parts) {
  const box = find("notice");
  const close = element(
    "button",
    { type: "button", class: "quiet", "aria-label": "Dismiss this message", onclick: hideNotice },
    "✕",
  );
  box.className = `notice ${kind}`;
  box.replaceChildren(element("p", {}, ...parts), close);
  box.hidden = false;
}

function hideNotice() {
  find("notice").hidden = true;
}
