// Elements, their text as text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

/** element("p", { class: "note", onclick: f }, "text", another): attributes, listeners, children. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** A name out of a model: it may run from right to left, and hold what cannot be seen. */
export function named(text, attributes = {}) {
  return element("bdi", attributes, visible(text) || "(empty)");
}

const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Control characters and turns of the writing direction as \u202e. */
export function visible(text) {
  return String(text).replace(UNSEEN, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A part of the page under a heading. */
export function section(title, ...children) {
  return element("section", { class: "panel" }, element("h2", {}, title), ...children);
}

/** What may be wider than the page: it scrolls by itself, by keyboard too. */
export function scrolling(label, ...children) {
  return element(
    "div",
    { class: "scrolling", role: "region", "aria-label": label, tabindex: 0 },
    ...children,
  );
}
