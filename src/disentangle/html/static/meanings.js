// Which view is shown: the address says it, so the browser's back and forward buttons work, and so do links.
const data = JSON.parse(document.getElementById("data").textContent);
const byNumber = new Map(data.labels.map((label) => [label.label, label]));
const listTitle = document.title;
let openLabel = null; // of the view, to come back to in the list
let listPlace = 0; // how far the list was scrolled

function shownLabel() {
  const match = /^#label-(\d+)$/.exec(location.hash);
  return match ? Number(match[1]) : null;
}

function show(isFirst) {
  const number = shownLabel();
  if (number === null) showList(isFirst);
  else showLabel(number, isFirst);
}

function showList(isFirst) {
  part("view").hidden = true;
  part("view").replaceChildren();
  part("overview").hidden = false;
  document.title = listTitle;
  if (isFirst || openLabel === null) return;
  scrollTo(0, listPlace);
  const link = part("labels").querySelector(`a[href="#label-${openLabel}"]`);
  (link ?? part("main")).focus({ preventScroll: true });
  // That of another label, to which "next" has led, may lie elsewhere.
  link?.scrollIntoView({ block: "nearest" });
  openLabel = null;
}

function showLabel(number, isFirst) {
  const label = byNumber.get(number);
  part("overview").hidden = true;
  part("view").replaceChildren(...(label ? labelView(label) : missingView(number)).filter((block) => block !== null));
  part("view").hidden = false;
  document.title = `${label ? label.name : "Not on this page"} – ${listTitle}`;
  openLabel = number;
  if (isFirst) return;
  scrollTo(0, 0);
  part("view-title").focus({ preventScroll: true });
}

// Where the list was, before the browser moves on.
part("labels").addEventListener("click", (event) => {
  if (event.target.closest("a")) listPlace = scrollY;
});
history.scrollRestoration = "manual";
startOverview(data.labels);
show(true);
addEventListener("hashchange", () => show(false));
