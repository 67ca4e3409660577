// The list of labels: searched, chosen and sorted, and shown by the hundred.
const PAGE = 100;
const SORTS = {
  ambiguity: { name: "Ambiguity", value: (label) => label.ambiguity, down: true },
  name: { name: "Label", value: (label) => label.name, down: false },
  copies: { name: "Copies", value: (label) => label.copies.length, down: true },
  instances: { name: "Instances", value: (label) => label.n_instances, down: true },
  separation: { name: "Separation", value: (label) => label.separation, down: true },
};
const overview = { sort: "ambiguity", turned: false, nShown: PAGE, found: [] };
const collator = new Intl.Collator("en-GB", { numeric: true, sensitivity: "base" });
let labels = [];
let ambiguityDigits = 3;

function part(id) {
  return document.getElementById(id);
}

// Accents and the points of Hebrew; the marks of other scripts, such as vowel signs, tell words apart.
const ACCENTS = /[\p{Script=Inherited}\u0591-\u05bd\u05bf\u05c1\u05c2\u05c7]/gu;

// Without accents and capitals, as people search; upper case has no ß and one sigma.
function folded(text) {
  return text.normalize("NFKD").replace(ACCENTS, "").toLowerCase().toUpperCase();
}

// What a copy is about, be it by the labels that come with it where features have no names.
function wordsOf(copy) {
  if (copy.terms.length) return copy.terms;
  const others = copy.companions.length ? copy.companions : copy.neighbours;
  return copy.n_instances ? others.map((other) => other.name) : [];
}

// What of a label is searched, made once.
function searched(label) {
  label.searched ??= folded([label.name, label.label, ...label.copies.flatMap(wordsOf)].join("\n"));
  return label.searched;
}

function choose() {
  const words = folded(part("search").value).split(/\s+/).filter(Boolean);
  const least = Number(part("least").value) || 0;
  return labels.filter(
    (label) =>
      label.n_instances >= least &&
      (label.is_significant || !part("significant").checked) &&
      (label.components || !part("known").checked) &&
      words.every((word) => searched(label).includes(word)),
  );
}

// What has no value comes last, whichever way the list is turned; equals are in the order of their ranks.
function sorted(found) {
  const { value, down } = SORTS[overview.sort];
  const sign = down === overview.turned ? 1 : -1;
  return found.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined) || one.rank - other.rank;
    const order = typeof a === "string" ? collator.compare(a, b) : a - b;
    return sign * order || one.rank - other.rank;
  });
}

function heading(name) {
  const { name: words, down } = SORTS[name];
  const isSorted = overview.sort === name;
  const direction = down === overview.turned ? "ascending" : "descending";
  const button = make("button", { type: "button" }, words);
  button.addEventListener("click", () => sortBy(name, isSorted && !overview.turned));
  const attributes = { scope: "col", class: `${name}-column`, "aria-sort": isSorted ? direction : null };
  return make("th", attributes, button);
}

function sortBy(name, turned) {
  Object.assign(overview, { sort: name, turned });
  part("sort").value = name;
  const hadFocus = part("labels").tHead?.contains(document.activeElement);
  showOverview();
  if (hadFocus) part("labels").querySelector(`.${name}-column button`).focus();
}

// A line for each of a label's meanings tells what it is about before it is opened.
function about(label) {
  const lines = label.copies.map(wordsOf).filter((words) => words.length).slice(0, 3);
  return lines.map((words) => make("div", {}, named(words.slice(0, 4).join(", "))));
}

function row(label, mostAmbiguous) {
  const significant = label.is_significant ? make("span", { class: "badge" }, "significant") : null;
  const known = label.components ? make("span", { class: "badge plain" }, "true meanings") : null;
  const badges = significant || known ? make("div", { class: "badges" }, significant, known) : null;
  return make(
    "tr",
    {},
    make("th", { scope: "row", class: "name-column" }, make("div", { class: "name" }, labelLink(label)), badges),
    make("td", { class: "terms-column" }, about(label)),
    make(
      "td",
      { class: "number ambiguity-column" },
      fixed(label.ambiguity, ambiguityDigits),
      bar((label.ambiguity ?? 0) / mostAmbiguous, "small"),
    ),
    make("td", { class: "number copies-column" }, WHOLE.format(label.copies.length)),
    make("td", { class: "number instances-column" }, WHOLE.format(label.n_instances)),
    make("td", { class: "number separation-column" }, fixed(label.separation, 2)),
  );
}

function rows(from, to) {
  const most = Math.max(...labels.map((label) => label.ambiguity ?? 0)) || 1;
  return overview.found.slice(from, to).map((label) => row(label, most));
}

function showOverview() {
  overview.found = sorted(choose());
  const [ambiguity, name, ...others] = Object.keys(SORTS).map(heading);
  const terms = make("th", { scope: "col", class: "terms-column" }, "Its meanings");
  const table = part("labels");
  table.dataset.sort = overview.sort;
  table.replaceChildren(
    make("caption", { class: "unseen" }, "Labels; a button in a heading sorts by its column"),
    make("thead", {}, make("tr", {}, name, terms, ambiguity, ...others)),
    make("tbody", {}, ...rows(0, overview.nShown)),
  );
  showCount();
}

function showCount() {
  const n = overview.found.length;
  const shown = Math.min(n, overview.nShown);
  const which = n === labels.length ? count(n, "label") : `${WHOLE.format(n)} of ${count(labels.length, "label")}`;
  const words = shown < n ? `${which}, the first ${WHOLE.format(shown)} shown` : which;
  part("count").textContent = n ? words : "No label is as chosen. Change the search or the filters.";
  part("labels").hidden = n === 0;
  part("more").hidden = shown >= n;
  part("more").textContent = `Show ${WHOLE.format(Math.min(PAGE, n - shown))} more`;
}

function showMore() {
  const first = overview.nShown;
  overview.nShown += PAGE;
  const body = part("labels").tBodies[0];
  body.append(...rows(first, overview.nShown));
  showCount();
  // The button may be gone now, and the reader goes on with what it brought.
  body.rows[first].querySelector("a").focus();
}

function startOverview(data) {
  labels = data;
  const most = Math.max(0, ...labels.map((label) => label.ambiguity ?? 0));
  ambiguityDigits = most < 10 ? 3 : 1;
  part("sort").append(...Object.entries(SORTS).map(([key, { name }]) => make("option", { value: key }, name.toLowerCase())));
  part("sort").addEventListener("change", () => sortBy(part("sort").value, false));
  part("more").addEventListener("click", showMore);
  part("choice").addEventListener("submit", (event) => event.preventDefault());
  part("choice").addEventListener("input", (event) => {
    if (event.target === part("sort")) return;
    overview.nShown = PAGE;
    showOverview();
  });
  // A browser may bring back what was typed before the page was left.
  overview.sort = part("sort").value;
  showOverview();
}
