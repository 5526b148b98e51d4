// The item in focus: large, with its evidence and the buttons that decide.

const evidenceNames = Object.keys(data.evidence);
const sortedEvidence = new Map(); // name -> ascending values, made when first looked at

// Share of the page's items whose labels look worse by this evidence.
function standing(name, value) {
  if (!sortedEvidence.has(name))
    sortedEvidence.set(
      name,
      data.evidence[name].filter((v) => v !== null).sort((a, b) => a - b),
    );
  const values = sortedEvidence.get(name);
  return values.length > 1 ? lowerBound(values, value) / (values.length - 1) : 0.5;
}

function drawPanel() {
  const row = view.current;
  const panel = find("panel");
  panel.dataset.empty = row < 0;
  for (const button of panel.querySelectorAll("[data-action]")) button.disabled = row < 0;
  find("undo").disabled = !store.history.length;
  if (row < 0) {
    find("focus").replaceChildren(element("p", { class: "none" }, "No item is in focus."));
    find("evidence").hidden = true;
    return;
  }
  const at = lowerBound(view.order, row);
  find("position").textContent =
    `${(at + 1).toLocaleString("en-US")} of ${view.order.length.toLocaleString("en-US")}`;
  const labeled = data.given[row] >= 0;
  const decision = store.decided[row];
  const fact = (name, ...value) => [element("dt", {}, name), element("dd", {}, ...value)];
  const list = element(
    "dl",
    {},
    ...fact("given", classText(data.given[row])),
    ...fact(
      "suggested",
      classText(data.suggested[row]),
      element("span", { class: "sure" }, percent(data.sure[row])),
    ),
    ...(labeled
      ? fact("wrong", meter(data.wrong[row]), element("b", {}, percent(data.wrong[row])))
      : []),
    ...(decision
      ? fact(
          "decided",
          element("span", { class: `verdict ${decision.word}` }, ...decisionMark(row)),
        )
      : []),
  );
  const tags = element("p", { class: "tags" });
  if (data.issue[row]) tags.append(element("span", { class: "tag issue" }, "label issue"));
  if (data.misfit[row]) tags.append(element("span", { class: "tag" }, "fits no class"));
  const shown = [];
  if (data.pictures[row]) shown.push(picture(row, "large"));
  if (data.texts[row] !== null)
    shown.push(element("p", { class: "full", dir: "auto", tabIndex: 0 }, data.texts[row]));
  const name = element(
    "h2",
    {},
    element("span", { class: "rank" }, data.rank[row] ? `#${data.rank[row]}` : NO_LABEL),
    own(data.ids[row], "own mono"),
  );
  find("focus").replaceChildren(...shown, element("div", { class: "about" }, name, tags, list));
  const suggested = data.suggested[row];
  const buttons = Object.fromEntries(
    [...panel.querySelectorAll(".decide button")].map((b) => [b.dataset.action, b]),
  );
  buttons.right.disabled = buttons.wrong.disabled = !labeled;
  buttons.suggested.disabled = suggested === data.given[row];
  find("suggestion").replaceChildren(own(className(suggested)));
  for (const [action, button] of Object.entries(buttons)) {
    const word =
      decision &&
      (decision.word !== "relabel"
        ? decision.word
        : decision.to === suggested
          ? "suggested"
          : "other");
    button.setAttribute("aria-pressed", String(word === action));
  }
  panel.querySelector("[data-action=clear]").disabled = !decision;
  drawEvidence();
}

function drawEvidence() {
  const row = view.current;
  const known = row < 0 ? [] : evidenceNames.filter((name) => data.evidence[name][row] !== null);
  find("evidence").hidden = !known.length;
  if (!known.length || !find("evidence").open) return;
  const lines = known.map((name) => {
    const value = data.evidence[name][row];
    const place = standing(name, value);
    const words = `looks better than ${Math.round(100 * place)} % of the items here`;
    const track = element(
      "span",
      { class: "track", role: "img", title: words, "aria-label": words },
      element("span", {}),
    );
    track.firstChild.style.left = `${100 * place}%`;
    const number = String(Number(value.toPrecision(3)));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, own(name)),
      element("td", {}, track),
      element("td", {}, number),
    );
  });
  find("evidence-body").replaceChildren(...lines);
}
