// Where a predicted number lies among the predictions for the training rows.

import { element } from "./element.js";
import { amount } from "./numbers.js";

// All inner deciles; equal ones stand in a manifest once, so it may have fewer.
export const INNER = 9;
// The strip goes on beyond the outer deciles by this share of the distance between them.
const BEYOND = 0.25;
export const ROWS = "predictions for the training rows";

/** Whether the strip of these deciles has a length. */
export function drawable(deciles) {
  return deciles.length > 1 && Number.isFinite(deciles.at(-1) - deciles[0]);
}

/** An axis of numbers, parted at the deciles: where predictions are frequent, the parts are narrow. */
export class Strip {
  constructor(deciles, labelled) {
    this.deciles = deciles;
    const width = deciles.at(-1) - deciles[0];
    this.start = deciles[0] - BEYOND * width;
    this.length = (1 + 2 * BEYOND) * width;
    this.mark = element("span", { class: "mark" });
    const parts = [...deciles, null].map((end, index) => this.part(deciles[index - 1], end, index));
    this.element = element(
      "div",
      { class: "strip", "aria-hidden": "true" },
      element("div", { class: "lane" }, parts, this.mark),
      labelled ? element("div", { class: "scale" }, this.label(0, "1st"), this.label(-1, "9th")) : "",
    );
  }

  /** The share of the strip's length that lies before a number; less than 0 or more than 1 outside. */
  at(number) {
    return (number - this.start) / this.length;
  }

  part(start, end, index) {
    const [from, to] = [start === undefined ? 0 : this.at(start), end === null ? 1 : this.at(end)];
    const part = element("span", { class: "part" });
    if (index === 0) part.classList.add("lowest");
    if (end === null) part.classList.add("highest");
    part.style.setProperty("left", `${100 * from}%`);
    part.style.setProperty("width", `${100 * (to - from)}%`);
    return part;
  }

  label(index, ordinal) {
    const decile = this.deciles.at(index);
    const label = element("span", {}, element("strong", {}, amount(decile, 4)), ` ${ordinal} decile`);
    label.style.setProperty("left", `${100 * this.at(decile)}%`);
    return label;
  }

  show(number) {
    const at = this.at(number);
    this.mark.style.setProperty("left", `${100 * Math.min(Math.max(at, 0), 1)}%`);
    this.mark.classList.toggle("below", at < 0);
    this.mark.classList.toggle("above", at > 1);
  }

  /** Where the number lies, in words. */
  words(number) {
    const lower = this.deciles.filter((decile) => decile < number).length;
    const [side, below] = 2 * lower < this.deciles.length ? ["lowest", "below"] : ["highest", "above"];
    const at = this.at(number);
    if (at < 0 || at > 1) return `far ${below} the ${side} decile of the ${ROWS}`;
    if (lower === 0 || lower === this.deciles.length)
      return `among the ${side} tenth of the ${ROWS}, or ${below} all of them`;
    if (this.deciles.length < INNER) return `between the first and the last decile of the ${ROWS}`;
    return `higher than ${10 * lower} to ${10 * lower + 10}% of the ${ROWS}`;
  }
}
