// Elements. Their text is always text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** element("p", { class: "note", onclick: f }, "text", child): attributes, listeners, children. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** A name from a model file, apart from the text around it: it may be written from right to left. */
export function isolated(text, attributes = {}) {
  return element("bdi", attributes, visible(text) || "(empty)");
}

const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Text with its control characters and changes of direction spelled out, as \u202e. */
export function visible(text) {
  return String(text).replace(
    INVISIBLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A reason or a note of a report as a sentence. */
export function sentence(text) {
  return visible(`${text.charAt(0).toUpperCase()}${text.slice(1)}.`);
}

/** A panel with a heading. */
export function section(title, ...children) {
  return element("section", { class: "panel" }, element("h2", {}, title), ...children);
}

/** A paragraph that stands back. */
export function muted(text) {
  return element("p", { class: "muted" }, text);
}

/** Content that is shown once its title is clicked. */
export function folded(title, ...children) {
  return element("details", {}, element("summary", {}, title), children);
}

/** Content that may be wider than the page: it has a scroll bar of its own, which the keyboard moves too. */
export function scrolling(label, ...children) {
  return element(
    "div",
    { class: "scrolling", role: "region", "aria-label": label, tabindex: 0 },
    ...children,
  );
}
