// A row as one line of text.

import { element } from "./element.js";
import { asJson, numberAsJson, plural } from "./numbers.js";

const PATIENCE = 120;

/** The whole row as one line of JSON, to be copied, edited or pasted. */
export class Line {
  constructor(form) {
    this.form = form;
    this.text = element("textarea", {
      rows: 3,
      spellcheck: "false",
      autocomplete: "off",
      "aria-label": "The row as JSON",
      oninput: () => this.typed(),
    });
    this.remark = element("p", { class: "remark wrong", "aria-live": "polite" });
    this.element = element(
      "details",
      { class: "line", ontoggle: () => this.show() },
      element("summary", {}, "The row as one line"),
      this.text,
      this.remark,
    );
  }

  show() {
    // What is being typed here is left alone.
    if (!this.element.open || document.activeElement === this.text) return;
    this.text.value = `[${this.form.cells.join(", ")}]`;
    this.remark.textContent = "";
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      try {
        this.form.set(cellsOf(this.text.value, this.form.features));
        this.remark.textContent = "";
      } catch (error) {
        this.remark.textContent = error.message;
      }
    }, PATIENCE);
  }
}

/** The cells of a pasted row: a JSON array or object, or values between commas or tabs. */
function cellsOf(text, features) {
  let row;
  try {
    row = JSON.parse(text);
  } catch {
    row = text
      .trim()
      .split(text.includes("\t") ? "\t" : ",")
      .map((part) => part.trim());
    row = row.map((part, index) =>
      features[index]?.kind === "number" ? JSON.parse(numberAsJson(part)) : part,
    );
  }
  if (!Array.isArray(row) && row !== null && typeof row === "object")
    row = features.map(({ name }) => (Object.hasOwn(row, name) ? row[name] : null));
  if (!Array.isArray(row)) throw new Error("a row is an array of values, or an object of them by name");
  if (row.length !== features.length)
    throw new Error(`${plural(row.length, "value")}, but there are ${plural(features.length, "feature")}`);
  return row.map(asJson);
}
