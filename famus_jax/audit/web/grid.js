// Cards of the rows that are in sight, and of no others.

const view = {
  order: [], // the rows that the filters let through, ascending: by rank
  current: -1, // the row in focus
  cards: new Map(), // row -> its element
  columns: 1,
  height: 1, // of a card with the gap below it
};
const SPARE = 2; // lines of cards beyond what is in sight
const hasPictures = data.pictures.some(Boolean);
const hasTexts = data.texts.some((text) => text !== null);

const MARKS = { right: "✓", wrong: "✕", relabel: "→" };

function decisionMark(row) {
  const decision = store.decided[row];
  if (!decision) return [];
  const symbol = element("span", { "aria-hidden": "true" }, MARKS[decision.word]);
  return [symbol, decision.word === "relabel" ? own(className(decision.to)) : decision.word];
}

function cardLabel(row) {
  const decision = store.decided[row];
  const parts = [
    data.rank[row] ? `Rank ${data.rank[row]}` : "Without a label",
    data.ids[row],
    `given ${className(data.given[row])}`,
    `suggested ${className(data.suggested[row])}`,
  ];
  if (data.wrong[row] !== null) parts.push(`${percent(data.wrong[row])} probably wrong`);
  if (data.misfit[row]) parts.push("fits no class");
  if (decision)
    parts.push(`decided: ${decision.word} ${decision.to < 0 ? "" : className(decision.to)}`);
  return parts.join(", ");
}

function picture(row, kind) {
  return element("img", {
    class: kind,
    src: data.pictures[row],
    alt: "",
    draggable: false,
    decoding: "async",
  });
}

function meter(p) {
  const bar = element("span", { class: "meter", "aria-hidden": "true" }, element("span", {}));
  bar.firstChild.style.width = `${100 * (p ?? 0)}%`;
  return bar;
}

function makeCard(row) {
  const small = (action, symbol, label) =>
    element(
      "button",
      {
        type: "button",
        tabIndex: -1,
        class: `small ${action}`,
        title: label,
        "aria-label": label,
        "data-action": action,
      },
      symbol,
    );
  const buttons = element("div", { class: "card-buttons" });
  if (data.given[row] >= 0)
    buttons.append(
      small("right", "✓", "The label is right"),
      small("wrong", "✕", "The label is wrong"),
    );
  if (data.suggested[row] !== data.given[row])
    buttons.append(small("suggested", "→", `Relabel to ${className(data.suggested[row])}`));
  buttons.append(small("other", "…", "Relabel to another class"));
  const body = element(
    "div",
    { class: "card-body" },
    element(
      "div",
      { class: "card-top" },
      element("span", { class: "rank" }, data.rank[row] ? `#${data.rank[row]}` : "–"),
      meter(data.wrong[row]),
      element("b", { title: "probability that the label is wrong" }, percent(data.wrong[row])),
    ),
    element(
      "div",
      { class: "line given" },
      element("span", { class: "what" }, "given"),
      classText(data.given[row]),
    ),
    element(
      "div",
      { class: "line suggested" },
      element("span", { class: "what" }, "suggests"),
      classText(data.suggested[row]),
      element("span", { class: "sure" }, percent(data.sure[row])),
    ),
    element(
      "div",
      { class: "line id" },
      own(data.ids[row], "own mono"),
      data.misfit[row] ? element("span", { class: "tag" }, "fits no class") : "",
    ),
  );
  const card = element("li", { class: "card", tabIndex: -1, "data-row": row });
  if (data.pictures[row]) card.append(picture(row, "thumb"));
  if (data.texts[row] !== null)
    body.prepend(element("p", { class: "excerpt", dir: "auto" }, data.texts[row].slice(0, 240)));
  card.append(body, buttons, element("div", { class: "mark" }));
  return card;
}

// What changes on a card: its decision, its focus, its place.
function dress(card, row, at) {
  const decision = store.decided[row];
  card.dataset.decision = decision ? decision.word : "";
  card.querySelector(".mark").replaceChildren(...decisionMark(row));
  card.setAttribute("aria-label", cardLabel(row));
  card.setAttribute("aria-setsize", view.order.length);
  card.setAttribute("aria-posinset", at + 1);
  const current = row === view.current;
  card.tabIndex = current ? 0 : -1;
  if (current) card.setAttribute("aria-current", "true");
  else card.removeAttribute("aria-current");
  const column = at % view.columns;
  card.style.left = `calc(${column} * (100% + var(--gap)) / ${view.columns})`;
  card.style.width = `calc((100% + var(--gap)) / ${view.columns} - var(--gap))`;
  card.style.top = `${Math.floor(at / view.columns) * view.height}px`;
}

// How many cards stand side by side, and so how long the list is.
function measure() {
  const style = getComputedStyle(find("grid"));
  const gap = parseFloat(style.getPropertyValue("--gap-px"));
  const narrowest = parseFloat(style.getPropertyValue("--card-width"));
  const kind = hasTexts ? "--text-card" : hasPictures ? "--picture-card" : "--plain-card";
  view.columns = Math.max(1, Math.floor((find("grid").clientWidth + gap) / (narrowest + gap)));
  view.height = parseFloat(style.getPropertyValue(kind)) + gap;
  find("grid").style.setProperty("--card-height", `${view.height - gap}px`);
  find("grid").style.height = `${Math.ceil(view.order.length / view.columns) * view.height}px`;
  find("empty").hidden = view.order.length > 0;
}

// Draws what is in sight: makes the cards that come, removes those that go.
function paint() {
  const top = find("grid").getBoundingClientRect().top;
  // Where the panel lies over the page it waits until the items come into sight.
  find("panel").classList.toggle("away", top > innerHeight - 160);
  const first = Math.max(0, Math.floor(-top / view.height) - SPARE) * view.columns;
  const last = (Math.ceil((innerHeight - top) / view.height) + SPARE) * view.columns;
  const wanted = new Map();
  for (let at = first; at < Math.min(last, view.order.length); at++) wanted.set(view.order[at], at);
  const focused = document.activeElement?.closest?.(".card");
  for (const [row, card] of view.cards)
    if (!wanted.has(row)) {
      card.remove();
      view.cards.delete(row);
    }
  let before = null;
  for (const [row, at] of wanted) {
    let card = view.cards.get(row);
    if (!card) {
      card = makeCard(row);
      view.cards.set(row, card);
      // In the order of the list, which is the order of the tab key and of a screen reader.
      if (before) before.after(card);
      else find("grid").prepend(card);
    }
    dress(card, row, at);
    before = card;
  }
  if (focused && !focused.isConnected) view.cards.get(view.current)?.focus({ preventScroll: true });
}

// Scrolls as little as it takes to have the card in focus in sight, under the bar and above the panel.
function reveal() {
  const at = lowerBound(view.order, view.current);
  if (view.order[at] !== view.current) return;
  const top =
    find("grid").getBoundingClientRect().top + Math.floor(at / view.columns) * view.height;
  const ceiling = find("bar").getBoundingClientRect().height + 10;
  const panel = find("panel").getBoundingClientRect();
  const covers = getComputedStyle(find("panel")).position === "fixed";
  const floor = (covers ? panel.top : innerHeight) - 10;
  if (top < ceiling) scrollBy(0, top - ceiling);
  else if (top + view.height > floor)
    scrollBy(0, Math.min(top - ceiling, top + view.height - floor));
}
