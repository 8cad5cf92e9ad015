// The picture of predicted numbers: a strip for each target.

import { element, isolated, visible } from "./element.js";
import { FIRST, Listing } from "./listing.js";
import { INNER, ROWS, Strip, drawable } from "./strip.js";

/** One number below its headline: where it lies, drawn and in words. */
export class Single {
  constructor(deciles) {
    this.element = element("div", { class: "single" });
    if (!drawable(deciles)) return;
    this.strip = new Strip(deciles, true);
    this.words = element("p", { class: "muted words" });
    this.element.append(this.strip.element, this.words);
  }

  show({ numbers: [number] }) {
    if (!this.strip) return;
    this.strip.show(number);
    const words = this.strip.words(number);
    this.words.textContent = `${words[0].toUpperCase()}${words.slice(1)}.`;
  }
}

/** Several numbers: for each target its name, its number and its strip. */
export class Targets {
  constructor(names, deciles, every) {
    this.rows = names.map((name, index) => row(name, deciles[index] ?? []));
    const parts = this.rows.map(({ element }) => element);
    const attributes = { class: "targets", "aria-label": "predictions" };
    this.listing = new Listing(attributes, parts, every, `Only the first ${FIRST}`);
    this.element = this.listing.element;
    this.element.append(legend(this.rows, deciles));
  }

  show({ numbers, texts }) {
    this.rows.forEach((row, index) => row.show(numbers[index], texts[index]));
    this.listing.arrange(numbers.map((_, index) => index));
  }
}

/** How the strips are to be read; nothing where there are none. */
function legend(rows, deciles) {
  if (!rows.some(({ strip }) => strip)) return "";
  const text = deciles.every(({ length }) => length === INNER)
    ? `A tenth of the ${ROWS} lies in each part of a strip.`
    : `The strips are parted at the deciles of the ${ROWS}.`;
  return element("p", { class: "muted words" }, text);
}

function row(name, deciles) {
  const strip = drawable(deciles) ? new Strip(deciles, false) : null;
  const value = element("span", { class: "value" });
  const words = element("span", { class: "unseen" });
  const line = element(
    "li",
    {},
    isolated(name, { class: "target", title: visible(name) }),
    value,
    words,
    strip ? strip.element : "",
  );
  const show = (number, text) => {
    value.textContent = text;
    value.title = String(number);
    if (!strip) return;
    strip.show(number);
    words.textContent = strip.words(number);
    strip.element.title = words.textContent;
  };
  return { element: line, strip, show };
}
