// The picture of a label's instances: a mark for each, its colour and its shape by the copy that it prefers.
const NONE = -1;
const SEVERAL = -2;
const N_COLOURS = 8;
const SHAPES = [
  ["circle", (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`],
  ["square", (r) => polygon([[-r, -r], [r, -r], [r, r], [-r, r]], 0.88)],
  ["triangle", (r) => polygon([[0, -r], [r, 0.8 * r], [-r, 0.8 * r]], 1.2)],
  ["diamond", (r) => polygon([[0, -r], [r, 0], [0, r], [-r, 0]], 1.25)],
  ["plus", (r) => polygon(cross(r), 1.15)],
  ["triangle, point down", (r) => polygon([[0, r], [r, -0.8 * r], [-r, -0.8 * r]], 1.2)],
  ["star", (r) => polygon(star(r), 1.35)],
];
const FRAME = 1000;
const MARGIN = 40;
const RADIUS = 13;

// Corners around 0, 0, moved by turns from one to the next.
function polygon(corners, scale) {
  const steps = corners.map(([x, y], i) => {
    const [fromX, fromY] = i ? corners[i - 1] : [0, 0];
    return `${i ? "l" : "m"}${round((x - fromX) * scale)} ${round((y - fromY) * scale)}`;
  });
  return `${steps.join("")}z`;
}

function round(value) {
  return Math.round(value * 100) / 100;
}

function cross(r) {
  const a = 0.36 * r;
  return [[-a, -r], [a, -r], [a, -a], [r, -a], [r, a], [a, a], [a, r], [-a, r], [-a, a], [-r, a], [-r, -a], [-a, -a]];
}

function star(r) {
  return Array.from({ length: 10 }, (_, i) => {
    const length = i % 2 ? 0.45 * r : r;
    const angle = (i * Math.PI) / 5 - Math.PI / 2;
    return [length * Math.cos(angle), length * Math.sin(angle)];
  });
}

// Colour and shape have numbers of repeats without a common factor, so that together they tell 56 copies apart.
function look(copy) {
  if (copy === NONE) return { className: "mark none", shape: SHAPES[0][1], words: "hollow circle" };
  if (copy === SEVERAL) return { className: "mark several", shape: SHAPES[3][1], words: "hollow diamond" };
  const [words, shape] = SHAPES[copy % SHAPES.length];
  return { className: `mark copy-${copy % N_COLOURS}`, shape, words };
}

function copyName(copy) {
  if (copy === NONE) return "no copy";
  return copy === SEVERAL ? "several alike" : `Meaning\u00a0${copy + 1}`;
}

function mark(copy, x, y, radius) {
  const { className, shape } = look(copy);
  return draw("path", { class: className, d: `M${x} ${y}${shape(radius)}` });
}

// A copy's mark in a line of text, which names it as well.
function icon(copy) {
  const attributes = { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" };
  return draw("svg", attributes, mark(copy, 12, 12, 8));
}

// Of each kind of point that there is: which, how many, and the middle of them.
function kinds(points) {
  const found = new Map();
  points.copy.forEach((copy, i) => {
    const kind = found.get(copy) ?? { copy, n: 0, x: 0, y: 0 };
    kind.n += 1;
    kind.x += points.x[i];
    kind.y += points.y[i];
    found.set(copy, kind);
  });
  const order = (kind) => (kind.copy < 0 ? 1000 - kind.copy : kind.copy);
  return [...found.values()].sort((a, b) => order(a) - order(b));
}

function picture(points) {
  const most = Math.max(...points.y);
  const height = Math.max(most, 300);
  const scale = (FRAME - 2 * MARGIN) / FRAME;
  const order = points.copy.map((copy, i) => [copy < 0 ? 0 : 1, i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const marks = order.map(([, i]) => {
    const y = height - points.y[i] - (height - most) / 2;
    return mark(points.copy[i], Math.round(MARGIN + points.x[i] * scale), Math.round(MARGIN + y * scale), RADIUS);
  });
  const attributes = {
    class: "picture",
    viewBox: `0 0 ${FRAME} ${Math.round(height * scale + 2 * MARGIN)}`,
    role: "img",
    "aria-label": "Instances of the label as marks, by the copy that they prefer. The table of marks says the same.",
  };
  return draw("svg", attributes, ...marks);
}

// What the picture shows, as a table: its key, and its text for those who do not see it.
function key(points) {
  const rows = kinds(points).map((kind) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, icon(kind.copy), ` ${copyName(kind.copy)}`),
      make("td", {}, look(kind.copy).words),
      make("td", { class: "number" }, WHOLE.format(kind.n)),
      make("td", { class: "number" }, `${middle(kind.x / kind.n)}, ${middle(kind.y / kind.n)}`),
    ),
  );
  return make(
    "table",
    { class: "key" },
    make("caption", {}, "Marks of the picture; the middle is counted from the left and from below, 0 to 100"),
    make("thead", {}, make("tr", {}, ...["Copy", "Mark", "Drawn", "Middle"].map(column))),
    make("tbody", {}, ...rows),
  );
}

function column(name, i) {
  return make("th", { scope: "col", class: i > 1 ? "number" : null }, name);
}

function middle(value) {
  return String(Math.round(value / 10));
}
