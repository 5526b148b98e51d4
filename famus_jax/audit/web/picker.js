// Choose one of many classes: type to narrow the list, arrows and Enter, or a click. Of a long list
// only a part is on the page.

const MOST_OPTIONS = 60;
const picker = { choices: [], shown: [], at: 0, choose: null };

// choices: [{value, name, note, none}], in the order in which they are to stand.
function openPicker(heading, choices, choose) {
  picker.choices = choices.map((one) => ({ ...one, folded: one.name.toLowerCase() }));
  picker.choose = choose;
  find("picker-title").textContent = heading;
  find("picker-text").value = "";
  narrow();
  find("picker").showModal();
  find("picker-text").focus();
}

function narrow() {
  const asked = find("picker-text").value.trim().toLowerCase();
  const begins = [];
  const holds = [];
  for (const one of picker.choices) {
    const place = one.folded.indexOf(asked);
    if (place === 0) begins.push(one);
    else if (place > 0) holds.push(one);
  }
  const all = [...begins, ...holds];
  picker.shown = all.slice(0, MOST_OPTIONS);
  picker.at = 0;
  find("picker-list").replaceChildren(
    ...picker.shown.map((one, at) =>
      element(
        "li",
        {
          role: "option",
          id: `option-${at}`,
          onclick: () => pick(at),
          onmousemove: () => mark(at),
        },
        one.none ? element("span", { class: "none" }, one.name) : own(one.name),
        element("span", { class: "note" }, one.note ?? ""),
      ),
    ),
  );
  const left = all.length - picker.shown.length;
  find("picker-more").textContent = all.length
    ? left && `${counted(left, "more class", "more classes")}: type to narrow the list`
    : "No class has this in its name.";
  mark(0);
}

function mark(at) {
  find(`option-${picker.at}`)?.setAttribute("aria-selected", "false");
  picker.at = at;
  const option = find(`option-${at}`);
  option?.setAttribute("aria-selected", "true");
  option?.scrollIntoView({ block: "nearest" });
  if (option) find("picker-text").setAttribute("aria-activedescendant", option.id);
  else find("picker-text").removeAttribute("aria-activedescendant");
}

function pick(at) {
  const one = picker.shown[at];
  if (!one) return;
  find("picker").close();
  picker.choose(one.value);
}

function startPicker() {
  find("picker-text").addEventListener("input", narrow);
  find("picker-text").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const size = picker.shown.length;
    if (step && size) mark((picker.at + step + size) % size);
    else if (event.key === "Enter" && !event.isComposing) pick(picker.at);
    else return;
    event.preventDefault();
  });
  find("picker-close").addEventListener("click", () => find("picker").close());
  for (const dialog of document.querySelectorAll("dialog"))
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
