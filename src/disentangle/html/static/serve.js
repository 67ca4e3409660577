// What is suggested for the text that is in the field. Answers come from this server alone.
const field = (name) => document.getElementById(name);
const rows = document.querySelector("#found tbody");
let asked = 0; // an answer that comes after a later question is none

// Only a web address is a link: others might run something.
function labelOf(found) {
  const isLink = /^https?:\/\//.test(found.uri);
  return isLink ? make("a", { href: found.uri, rel: "noreferrer" }, named(found.label)) : named(found.label);
}

function rowOf(found) {
  const score = make("td", { class: "number" }, fixed(found.score, 3));
  return make("tr", {}, make("th", { scope: "row" }, labelOf(found)), score, make("td", {}, bar(found.score)));
}

async function answerTo(path, options) {
  const response = await fetch(path, options);
  const said = await response.json();
  if (!response.ok) throw new Error(said.detail);
  return said;
}

function show(results, words) {
  rows.replaceChildren(...results.map(rowOf));
  field("found").hidden = results.length === 0;
  field("status").textContent = words;
}

async function suggest() {
  const number = ++asked;
  const body = new URLSearchParams({ text: field("text").value, limit: field("limit").value });
  const path = `/v1/projects/${encodeURIComponent(field("project").value)}/suggest`;
  field("status").textContent = "Asking …";
  try {
    const { results } = await answerTo(path, { method: "POST", body });
    const words = results.length ? count(results.length, "label") : "No label: the model knows no word of this text.";
    if (number === asked) show(results, words);
  } catch (error) {
    if (number === asked) show([], `There is no answer: ${error.message}.`);
  }
}

async function start() {
  try {
    const { projects } = await answerTo("/v1/projects");
    field("project").replaceChildren(
      ...projects.map((one) => make("option", { value: one.project_id }, `${one.project_id}: ${one.name}`)),
    );
  } catch (error) {
    show([], `There is no answer: ${error.message}.`);
  }
}

field("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  suggest();
});
start();
