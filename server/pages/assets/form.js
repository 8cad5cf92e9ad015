// The form for one row of features.

import { Dated } from "./dated.js";
import { isDate } from "./dates.js";
import { element, visible } from "./element.js";
import { Choice, Numeric, choices, random, usual } from "./feature.js";
import { Line } from "./line.js";
import { asJson } from "./numbers.js";
import { outputsOf } from "./outputs.js";

// How many features a longer form shows at first.
const FIRST = 30;

/**
 * The form of a model. `cells` holds each feature's value as JSON, in feature order. `changed(typing)` is
 * called after each change; `values` are cells by feature name to start with.
 */
export class Form {
  constructor(manifest, changed, values = new Map()) {
    this.features = manifest.features;
    this.cells = this.features.map((feature) => values.get(feature.name) ?? usual(feature));
    this.element = element("form", { class: "panel form", onsubmit: (event) => event.preventDefault() });
    this.changed = changed;
    this.limit = this.features.length > FIRST + 10 ? FIRST : Infinity;
    this.query = "";
    this.rows = new Map();
    this.fault = null;
    this.list = element("div", { class: "features" });
    this.more = element("button", { type: "button", class: "quiet", onclick: () => this.showAll() });
    this.line = new Line(this);
    this.element.append(
      element("h2", {}, "Try it"),
      this.tools(manifest),
      this.features.length > 12 ? this.search() : "",
      this.list,
      this.more,
      this.line.element,
    );
    this.build();
  }

  tools(manifest) {
    const button = (text, title, cells) =>
      element("button", { type: "button", title, onclick: () => this.set(cells()) }, text);
    return element(
      "div",
      { class: "tools" },
      button("Medians", "Medians of the training rows, and each feature's first category", () =>
        this.features.map(usual),
      ),
      button("Surprise me", "A random row within the training ranges", () => this.features.map(random)),
      this.examples(manifest.golden, outputsOf(manifest)),
    );
  }

  examples({ rows }, outputs) {
    const options = rows.map((_, row) =>
      element("option", { value: row }, `${row + 1}: ${visible(outputs.golden(row))}`),
    );
    const choose = (event) => {
      if (event.target.value !== "") this.set(rows[event.target.value].map(asJson));
    };
    this.chooser = element(
      "select",
      { "aria-label": "Golden row", title: "Rows with the pipeline's own answers", onchange: choose },
      element("option", { value: "" }, "Golden rows"),
      options,
    );
    return this.chooser;
  }

  search() {
    const search = (event) => {
      this.query = event.target.value.toLowerCase();
      this.build();
    };
    return element("input", {
      type: "search",
      class: "search",
      placeholder: `Find one of ${this.features.length} features`,
      "aria-label": "Find a feature",
      autocomplete: "off",
      spellcheck: "false",
      oninput: search,
    });
  }

  showAll() {
    this.limit = Infinity;
    this.build();
    this.list.querySelectorAll("input, select")[0]?.focus();
  }

  /** Build the visible rows only: a model may have thousands. */
  build() {
    const matches = this.features
      .map((_, index) => index)
      .filter((index) => this.features[index].name.toLowerCase().includes(this.query));
    this.rows = new Map(matches.slice(0, this.limit).map((index) => [index, this.row(index)]));
    this.list.replaceChildren(...[...this.rows.values()].map((row) => row.element));
    if (matches.length === 0)
      this.list.append(element("p", { class: "muted" }, "No feature name contains this text."));
    this.more.hidden = matches.length <= this.limit;
    this.more.textContent = `Show all ${matches.length.toLocaleString("en")} features`;
    if (this.fault) this.refuse(...this.fault);
  }

  row(index) {
    const change = (cell, typing) => {
      this.cells[index] = cell;
      this.chooser.value = "";
      // The fault was in the text before this one.
      if (this.fault && this.hasName(index, this.fault[0])) this.refuse();
      this.line.show();
      this.changed(typing);
    };
    const feature = this.features[index];
    const Control = choices(feature) ? Choice : isDate(feature) ? Dated : Numeric;
    const row = new Control(feature, index, change);
    row.show(this.cells[index]);
    return row;
  }

  set(cells) {
    this.cells = cells;
    for (const [index, row] of this.rows) row.show(cells[index]);
    this.refuse();
    this.line.show();
    this.changed(false);
  }

  /** Show a fault beside its feature; without arguments, remove it. */
  refuse(name = null, sentence = "") {
    this.fault = name === null ? null : [name, sentence];
    for (const [index, row] of this.rows) {
      row.refuse(name !== null && this.hasName(index, name) ? sentence : "");
    }
  }

  /** Errors cut the names of features to 200 characters. */
  hasName(index, name) {
    return [...this.features[index].name].slice(0, 200).join("") === name;
  }

  /** Move the focus to the feature of this name. */
  reveal(name) {
    const index = this.features.findIndex((_, position) => this.hasName(position, name));
    if (!this.rows.has(index)) {
      this.query = "";
      this.limit = Infinity;
      this.build();
    }
    this.rows.get(index)?.focus();
  }
}
