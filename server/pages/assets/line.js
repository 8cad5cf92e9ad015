// A row as one line of text.

import { element } from "./element.js";
import { asJson, numberAsJson, parsed, plural, textAsJson } from "./numbers.js";

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
        this.form.set(cellsOf(this.text.value, this.form));
        this.remark.textContent = "";
      } catch (error) {
        this.remark.textContent = error.message;
      }
    }, PATIENCE);
  }
}

/** The cells of a pasted row: a JSON array or object, or values between commas or tabs. */
function cellsOf(text, { features, cells }) {
  if (!/^\s*[[{]/.test(text)) return divided(text, features);
  const row = parsed(text);
  return Array.isArray(row) ? counted(row, features).map(asJson) : named(row, features, cells);
}

function divided(text, features) {
  // The first and the last cell may be empty, so that tabs at the ends stay.
  const line = text.replace(/^[\r\n ]+|[\r\n ]+$/g, "");
  const parts = line.split(line.includes("\t") ? "\t" : ",");
  return counted(parts, features).map((part, index) => {
    const { kind, missing, categories } = features[index];
    const word = part.trim();
    if (kind === "number") return numberAsJson(word);
    // As in a CSV table: nothing is what is missing, unless the model knows the empty text.
    return word === "" && missing && !categories?.includes("") ? "null" : textAsJson(word);
  });
}

function counted(row, features) {
  if (row.length !== features.length)
    throw new Error(`${plural(row.length, "value")}, but there are ${plural(features.length, "feature")}`);
  return row;
}

/** Features that the record does not name keep their cells. */
function named(record, features, cells) {
  const known = new Set(features.map(({ name }) => name));
  const unknown = Object.keys(record).find((name) => !known.has(name));
  if (unknown !== undefined) throw new Error(`no feature is called ${textAsJson(unknown)}`);
  return features.map(({ name }, index) =>
    Object.hasOwn(record, name) ? asJson(record[name]) : cells[index],
  );
}
