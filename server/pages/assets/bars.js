// A bar for each class, as long as its probability or score.

import { element, isolated, visible } from "./element.js";
import { FIRST, Listing } from "./listing.js";

/** The bars of all `names`; `limit` is the largest number of a class, where there is one. */
export class Bars {
  constructor({ names, kind, limit, every }) {
    this.limit = limit;
    this.rows = names.map((name) => bar(name));
    const parts = this.rows.map((row) => row.element);
    this.listing = new Listing({ class: "bars", "aria-label": kind }, parts, every, `Only the top ${FIRST}`);
    this.element = this.listing.element;
  }

  /** Show the numbers of all classes, as numbers and as `texts`; the class at `best` stands out. */
  show({ numbers, texts, best }) {
    const longest = this.limit || Math.max(...numbers.map(Math.abs)) || 1;
    const sides = numbers.some((number) => number < 0);
    this.listing.list.classList.toggle("sides", sides);
    numbers.forEach((number, index) => {
      this.rows[index].show(number, { text: texts[index], longest, sides, best: index === best });
    });
    this.listing.arrange(numbers.map((_, index) => index).sort((a, b) => numbers[b] - numbers[a]));
  }
}

function bar(name) {
  const fill = element("span", { class: "fill" });
  const value = element("span", { class: "value" });
  const row = element(
    "li",
    {},
    isolated(name, { class: "class", title: visible(name) }),
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    value,
  );
  const show = (number, { text, longest, sides, best }) => {
    const share = Math.min(Math.abs(number) / longest, 1);
    const width = sides ? share / 2 : share;
    fill.style.setProperty("width", `${100 * width}%`);
    fill.style.setProperty("margin-left", `${sides ? 100 * (number < 0 ? 0.5 - width : 0.5) : 0}%`);
    row.classList.toggle("best", best);
    value.textContent = text;
    value.title = String(number);
  };
  return { element: row, show };
}
