// Elements and numbers. Texts become text nodes and nothing else, so none of them is ever read as HTML.
const SVG = "http://www.w3.org/2000/svg";
const WHOLE = new Intl.NumberFormat("en-GB");
const PERCENT = new Intl.NumberFormat("en-GB", { style: "percent", maximumFractionDigits: 0 });

// An element with attributes and children; null attributes and children are left out.
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

// A name in a line: it may run right to left without turning the line round.
function named(text) {
  return make("bdi", {}, text);
}

function labelLink(label) {
  return make("a", { href: `#label-${label.label}` }, named(label.name));
}

function count(n, one, many = `${one}s`) {
  return `${WHOLE.format(n)} ${n === 1 ? one : many}`;
}

// A share of 0 to 1; a small one is not shown as none, nor a large one as all.
function percent(share) {
  if (share >= 0.995 && share < 1) return "> 99%";
  return share > 0 && share < 0.005 ? "< 1%" : PERCENT.format(share);
}

function fixed(value, digits) {
  return value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
}

function pValue(p) {
  if (p === undefined) return "not tested";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

// The part of a bar that is filled, 0 to 1; beside it stands the same as a number.
function bar(share, className = "") {
  const part = make("span", { class: "part" });
  part.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return make("span", { class: `bar ${className}`, "aria-hidden": "true" }, part);
}
