// One row of features, to be filled in.

import { element, visible } from "./element.js";
import { anyOf, Category, Numeric, usual } from "./feature.js";
import { Line } from "./line.js";
import { asJson } from "./numbers.js";

const FEW = 30;

/**
 * The form of a model. `cells` holds each feature's value as JSON, in feature order; `changed(soon)` is
 * called when one has changed, with true while somebody is typing.
 */
export class Form {
  constructor(manifest, changed, kept = new Map()) {
    this.features = manifest.features;
    this.cells = this.features.map((feature) => kept.get(feature.name) ?? usual(feature));
    this.element = element("form", { class: "panel form", onsubmit: (event) => event.preventDefault() });
    this.changed = changed;
    this.most = this.features.length > FEW + 10 ? FEW : Infinity;
    this.wanted = "";
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
      button("Medians", "The middle of the training rows, and each first category", () =>
        this.features.map(usual),
      ),
      button("Surprise me", "Any row within the training ranges", () => this.features.map(anyOf)),
      this.examples(manifest.golden, manifest),
    );
  }

  examples(golden, manifest) {
    const name = (label) => visible(manifest.class_names[manifest.classes.indexOf(label)]);
    const options = golden.labels.map((label, row) =>
      element("option", { value: row }, `${row + 1}: ${name(label)}`),
    );
    const choose = (event) => {
      if (event.target.value !== "") this.set(golden.rows[event.target.value].map(asJson));
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
    const look = (event) => {
      this.wanted = event.target.value.toLowerCase();
      this.build();
    };
    return element("input", {
      type: "search",
      class: "search",
      placeholder: `Find one of ${this.features.length} features`,
      "aria-label": "Find a feature",
      autocomplete: "off",
      spellcheck: "false",
      oninput: look,
    });
  }

  showAll() {
    this.most = Infinity;
    this.build();
    this.list.querySelectorAll("input, select")[0]?.focus();
  }

  /** Only rows that are to be seen exist: a model may have thousands. */
  build() {
    const found = this.features
      .map((_, index) => index)
      .filter((index) => this.features[index].name.toLowerCase().includes(this.wanted));
    this.rows = new Map(found.slice(0, this.most).map((index) => [index, this.row(index)]));
    this.list.replaceChildren(...[...this.rows.values()].map((row) => row.element));
    if (found.length === 0)
      this.list.append(element("p", { class: "muted" }, "No feature has that in its name."));
    this.more.hidden = found.length <= this.most;
    this.more.textContent = `Show all ${found.length.toLocaleString("en")} features`;
    if (this.fault) this.refuse(...this.fault);
  }

  row(index) {
    const change = (cell, soon) => {
      this.cells[index] = cell;
      this.chooser.value = "";
      // What was wrong was the text before.
      if (this.fault && this.isCalled(index, this.fault[0])) this.refuse();
      this.line.show();
      this.changed(soon);
    };
    const made =
      this.features[index].kind === "category"
        ? new Category(this.features[index], index, change)
        : new Numeric(this.features[index], index, change);
    made.show(this.cells[index]);
    return made;
  }

  set(cells) {
    this.cells = cells;
    for (const [index, row] of this.rows) row.show(cells[index]);
    this.refuse();
    this.line.show();
    this.changed(false);
  }

  /** Say what is wrong beside the feature that it is about, or take it back. */
  refuse(name = null, sentence = "") {
    this.fault = name === null ? null : [name, sentence];
    for (const [index, row] of this.rows) {
      row.refuse(name !== null && this.isCalled(index, name) ? sentence : "");
    }
  }

  /** Errors name features by no more than so many characters. */
  isCalled(index, name) {
    return [...this.features[index].name].slice(0, 200).join("") === name;
  }

  /** Make the feature of that name seen, and go there. */
  reveal(name) {
    const index = this.features.findIndex((_, at) => this.isCalled(at, name));
    if (!this.rows.has(index)) {
      this.wanted = "";
      this.most = Infinity;
      this.build();
    }
    this.rows.get(index)?.focus();
  }
}
