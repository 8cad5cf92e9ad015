// The row as one line of text.

import { element } from "./element.js";
import { asJson, numberAsJson, parsed, plural, textAsJson } from "./numbers.js";

// Milliseconds from the last key until the line is read.
const TYPING = 120;

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
      element("summary", {}, "The row as one line of text"),
      this.text,
      this.remark,
    );
  }

  show() {
    // Never replace text while somebody types it.
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
    }, TYPING);
  }
}

/** The cells of a pasted row: a JSON array or object, or values separated by commas or tabs. */
function cellsOf(text, { features, cells }) {
  if (!/^\s*[[{]/.test(text)) return separated(text, features);
  const row = parsed(text);
  return Array.isArray(row) ? counted(row, features).map(asJson) : updated(cells, row, features);
}

function separated(text, features) {
  // Keep tabs at both ends: the first and the last cell may be empty.
  const line = text.replace(/^[\r\n ]+|[\r\n ]+$/g, "");
  const parts = line.split(line.includes("\t") ? "\t" : ",");
  return counted(parts, features).map((part, index) => {
    const { kind, missing, categories, notation } = features[index];
    const value = part.trim();
    if (notation?.date) return value === "" ? "null" : textAsJson(value);
    if (kind === "number") return numberAsJson(value);
    // As in a CSV table, an empty cell is a missing value, unless the empty text is a category.
    return value === "" && missing && !categories?.includes("") ? "null" : textAsJson(value);
  });
}

function counted(row, features) {
  if (row.length !== features.length)
    throw new Error(`${plural(row.length, "value")}, but there are ${plural(features.length, "feature")}`);
  return row;
}

/** The cells with the values of a record; features that it does not name keep theirs. */
function updated(cells, record, features) {
  const names = new Set(features.map(({ name }) => name));
  const unknown = Object.keys(record).find((name) => !names.has(name));
  if (unknown !== undefined) throw new Error(`no feature is called ${textAsJson(unknown)}`);
  return features.map(({ name }, index) =>
    Object.hasOwn(record, name) ? asJson(record[name]) : cells[index],
  );
}
