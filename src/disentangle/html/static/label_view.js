// The view of one label: its meanings side by side, and how separate they are.
const SEPARATIONS = [
  [0.65, "are far apart"],
  [0.5, "are apart, with something in common"],
  [0.35, "have much in common"],
  [-Infinity, "are hardly apart: they may share one meaning"],
];

function separationInWords(separation) {
  if (separation === undefined) return "How far apart its copies are is not known.";
  return `Its copies ${SEPARATIONS.find(([least]) => separation >= least)[1]}.`;
}

function summary(label) {
  const most = Math.max(...label.copies.map((copy) => copy.share));
  const tested = label.is_significant
    ? "They split it more than those of most labels of its frequency."
    : label.p_value === undefined
      ? "It was not tested: it has too few instances, or too few labels have enough."
      : "They split it no more than those of other labels of its frequency.";
  return (
    `Label ${WHOLE.format(label.label)} has ${count(label.copies.length, "copy", "copies")}. Of its instances that ` +
    `prefer one, ${percent(most)} prefer the most used. ${separationInWords(label.separation)} ${tested}`
  );
}

function fact(name, value) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value));
}

function facts(label) {
  return make(
    "dl",
    { class: "facts" },
    fact("Ambiguity", fixed(label.ambiguity, ambiguityDigits)),
    fact("p-value", pValue(label.p_value)),
    fact("Separation", label.separation === undefined ? "not known" : fixed(label.separation, 2)),
    fact("Instances", WHOLE.format(label.n_instances)),
    fact("reach several copies", WHOLE.format(label.n_several)),
    fact("reach no copy", WHOLE.format(label.n_none)),
  );
}

// A list under its heading; null where there is nothing to list.
function listed(title, className, items) {
  return items.length
    ? make("div", {}, make("h3", {}, title), make("ul", { class: className }, ...items.map((item) => make("li", {}, item))))
    : null;
}

function example({ instance, text }) {
  const number = `Instance ${WHOLE.format(instance)}`;
  return text ? [make("p", { dir: "auto" }, text), make("span", { class: "quiet" }, number)] : [number];
}

// Mere numbers need no line of their own each.
function examples(copy) {
  const hasTexts = copy.examples.some(({ text }) => text);
  return listed("Examples", hasTexts ? "examples" : "numbers", copy.examples.map(example));
}

function neighbour(other) {
  const shown = byNumber.get(other.label);
  return shown ? labelLink(shown) : named(other.name);
}

function card(copy, i) {
  const original = copy.is_original ? ", where the label was before it was copied" : "";
  return make(
    "section",
    { class: "card", "aria-labelledby": `meaning-${i}` },
    make(
      "div",
      { class: "card-top" },
      make("h2", { id: `meaning-${i}` }, icon(i), ` ${copyName(i)}`),
      make("span", { class: "share number" }, percent(copy.share)),
    ),
    bar(copy.share, `fill-${i % N_COLOURS}`),
    make("p", { class: "quiet" }, `${count(copy.n_instances, "instance")}. Cluster ${WHOLE.format(copy.cluster)}${original}.`),
    listed("Typical terms", "terms", copy.terms.map(named)),
    listed("Comes with", "neighbours", copy.companions.map(neighbour)),
    listed("Neighbouring labels", "neighbours", copy.neighbours.map(neighbour)),
    examples(copy),
  );
}

function pictureOf(label) {
  const { points, n_instances: n } = label;
  if (!points) return null;
  const drawn = points.copy.length;
  const part = drawn < n ? `${WHOLE.format(drawn)} of its ${count(n, "instance")}` : "all its instances";
  return make(
    "section",
    { class: "block", "aria-labelledby": "picture-title" },
    make("h2", { id: "picture-title" }, "Its instances, by the copy that they prefer"),
    make("p", { class: "quiet" }, `The picture shows ${part}. Near ones are alike. It is flat, so some that differ lie together.`),
    make("div", { class: "pictured" }, picture(points), key(points)),
  );
}

function componentsOf(label) {
  if (!label.components) return null;
  const heads = label.copies.map((_, i) => make("th", { scope: "col", class: "number" }, icon(i), ` ${copyName(i)}`));
  const rows = label.components.map((component) => {
    const most = Math.max(...component.per_copy);
    const cells = component.per_copy.map((n) =>
      make("td", { class: n === most && n > 0 ? "number most" : "number" }, WHOLE.format(n)),
    );
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, named(component.name)),
      ...cells,
      make("td", { class: "number" }, WHOLE.format(component.n_instances)),
    );
  });
  const head = make("tr", {}, make("th", { scope: "col" }, "True meaning"), ...heads, make("th", { scope: "col", class: "number" }, "All"));
  const table = make(
    "table",
    { class: "components" },
    make("caption", {}, "Instances of each true meaning that prefer each copy; the most of a row are bold"),
    make("thead", {}, head),
    make("tbody", {}, ...rows),
  );
  const scrolled = { class: "scrolled", role: "region", tabindex: "0", "aria-label": "True meanings and copies" };
  return make(
    "section",
    { class: "block", "aria-labelledby": "components-title" },
    make("h2", { id: "components-title" }, "Its true meanings, as the data tell them"),
    make("div", scrolled, table),
  );
}

function way(label, words) {
  return label ? make("span", {}, `${words}: `, labelLink(label)) : null;
}

// The labels before and after this one in the list, as it is chosen and sorted.
function ways(label) {
  const { found } = overview;
  const i = found.indexOf(label);
  const links = i < 0 ? [] : [way(found[i - 1], "before"), way(found[i + 1], "next")];
  return make("nav", { class: "ways", "aria-label": "Labels" }, make("a", { href: "#" }, "All labels"), ...links);
}

function labelView(label) {
  return [
    ways(label),
    make("h1", { id: "view-title", tabindex: "-1" }, named(label.name)),
    make("p", { class: "lead" }, summary(label)),
    facts(label),
    make("div", { class: "cards" }, ...label.copies.map(card)),
    pictureOf(label),
    componentsOf(label),
  ];
}

function missingView(number) {
  return [
    ways(null),
    make("h1", { id: "view-title", tabindex: "-1" }, "Not on this page"),
    make("p", { class: "lead" }, `Label ${number} is not among the labels of this page.`),
  ];
}
