// Scales and ticks: round numbers, as many as there is room for.

function ticksOf(low, high, most) {
  const span = high - low || 1;
  const rough = span / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return found.map((at) => [at, number(Math.abs(at) < step / 1e6 ? 0 : at, Math.min(digits, 6))]);
}

// A range that holds all values, with a little air.
function rangeOf(values, unit) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low === high) {
    const air = Math.abs(low) * 0.1 || 1;
    low -= air;
    high += air;
  }
  const air = (high - low) * 0.06;
  const all = [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
  if (unit === "%") return [Math.max(0, all[0]), Math.min(100, all[1])];
  return all;
}

// The frame of a chart: grid, ticks, names of the axes. `box`: width, height, margins.
function frame(svg, box, xs, ys, xTicks, yTicks, xName, yName) {
  const bottom = box.height - box.bottom;
  for (const [at, text] of yTicks) {
    const y = ys(at);
    svg.append(
      drawn("line", { class: "grid", x1: box.left, x2: box.width - box.right, y1: y, y2: y }),
      drawn("text", { x: box.left - 7, y: y + 4, "text-anchor": "end" }, text),
    );
  }
  svg.append(drawn("line", { class: "zero", x1: box.left, x2: box.width - box.right, y1: bottom, y2: bottom }));
  for (const [at, text] of xTicks) {
    const x = xs(at);
    svg.append(
      drawn("line", { class: "zero", x1: x, x2: x, y1: bottom, y2: bottom + 4 }),
      drawn("text", { x, y: bottom + 17, "text-anchor": "middle" }, text),
    );
  }
  svg.append(drawn("text", { x: box.width - box.right, y: box.height - 3, "text-anchor": "end" }, xName));
  if (yName) svg.append(drawn("text", { x: 0, y: 10 }, yName));
}

const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low)) * (to - from);
