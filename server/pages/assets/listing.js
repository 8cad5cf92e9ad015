// A list of an answer's parts.

import { element } from "./element.js";

// With more parts than MANY, only some are shown at first, so many.
const MANY = 12;
export const FIRST = 10;

/** A list, and the button that shows all of it. `parts` are elements, `every` and `fewer` its texts. */
export class Listing {
  constructor(attributes, parts, every, fewer) {
    this.parts = parts;
    this.all = parts.length <= MANY;
    this.texts = [every, fewer];
    this.list = element("ol", attributes);
    this.more = element("button", { type: "button", class: "quiet", onclick: () => this.toggle() });
    this.more.hidden = this.all;
    this.element = element("div", {}, this.list, this.more);
  }

  toggle() {
    this.all = !this.all;
    this.arrange(this.order);
  }

  /** Show the parts with these indices, or the first of them. */
  arrange(order) {
    this.order = order;
    const shown = this.all ? this.parts : order.slice(0, FIRST).map((index) => this.parts[index]);
    this.more.textContent = this.texts[Number(this.all)];
    const current = [...this.list.children];
    // Parts that stay where they are keep the focus and the selection.
    const same = shown.length === current.length && shown.every((part, index) => part === current[index]);
    if (!same) this.list.replaceChildren(...shown);
  }
}
