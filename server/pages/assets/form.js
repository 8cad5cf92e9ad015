// One row of features, to be filled in.

import { element, named, visible } from "./element.js";
import { asJson, figure, numberAsJson, plural, stepBetween, stepped, textAsJson } from "./numbers.js";

const FEW = 30;
const SHORT = 7;
const PATIENCE = 120;

/**
 * The form of a model. `cells` holds each feature's value as JSON, in feature order; `changed(soon)` is called
 * when one has changed, with true while somebody is typing.
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
      button("Medians", "The middle of the training rows, and each first category", () => this.features.map(usual)),
      button("Surprise me", "Any row within the training ranges", () => this.features.map(anyOf)),
      this.examples(manifest.golden, manifest),
    );
  }

  examples(golden, manifest) {
    const name = (label) => visible(manifest.class_names[manifest.classes.indexOf(label)]);
    const options = golden.labels.map((label, row) => element("option", { value: row }, `${row + 1}: ${name(label)}`));
    const choose = (event) => {
      if (event.target.value !== "") this.set(golden.rows[event.target.value].map(asJson));
    };
    this.chooser = element("select", { "aria-label": "Golden row", title: "Rows with the pipeline's own answers", onchange: choose },
      element("option", { value: "" }, "Golden rows"), options);
    return this.chooser;
  }

  search() {
    const look = (event) => {
      this.wanted = event.target.value.toLowerCase();
      this.build();
    };
    return element("input", { type: "search", class: "search", placeholder: `Find one of ${this.features.length} features`,
      "aria-label": "Find a feature", autocomplete: "off", spellcheck: "false", oninput: look });
  }

  showAll() {
    this.most = Infinity;
    this.build();
    this.list.querySelectorAll("input, select")[0]?.focus();
  }

  /** Only rows that are to be seen exist: a model may have thousands. */
  build() {
    const found = this.features.map((_, index) => index)
      .filter((index) => this.features[index].name.toLowerCase().includes(this.wanted));
    this.rows = new Map(found.slice(0, this.most).map((index) => [index, this.row(index)]));
    this.list.replaceChildren(...[...this.rows.values()].map((row) => row.element));
    if (found.length === 0) this.list.append(element("p", { class: "muted" }, "No feature has that in its name."));
    this.more.hidden = found.length <= this.most;
    this.more.textContent = `Show all ${found.length.toLocaleString("en")} features`;
    if (this.fault) this.refuse(...this.fault);
  }

  row(index) {
    const change = (cell, soon) => {
      this.cells[index] = cell;
      this.chooser.value = "";
      this.line.show();
      this.changed(soon);
    };
    const made = this.features[index].kind === "category" ? new Category(this.features[index], index, change)
      : new Numeric(this.features[index], index, change);
    made.show(this.cells[index]);
    return made;
  }

  set(cells) {
    this.cells = cells;
    for (const [index, row] of this.rows) row.show(cells[index]);
    this.line.show();
    this.changed(false);
  }

  /** Say what is wrong beside the feature that it is about, or take it back. */
  refuse(name = null, sentence = "") {
    this.fault = name === null ? null : [name, sentence];
    for (const [index, row] of this.rows) {
      // Errors name features by no more than so many characters.
      const meant = name !== null && [...this.features[index].name].slice(0, 200).join("") === name;
      row.refuse(meant ? sentence : "");
    }
  }

  /** Make the feature of that name seen, and go there. */
  reveal(name) {
    const index = this.features.findIndex((feature) => [...feature.name].slice(0, 200).join("") === name);
    if (!this.rows.has(index)) {
      this.wanted = "";
      this.most = Infinity;
      this.build();
    }
    this.rows.get(index)?.focus();
  }
}

class Row {
  constructor(feature, index) {
    this.feature = feature;
    this.id = `feature-${index}`;
    this.label = element("label", { class: "name", for: this.id, id: `${this.id}-name` }, named(feature.name, { title: visible(feature.name) }));
    this.remark = element("p", { class: "remark", id: `${this.id}-remark` });
    this.element = element("div", { class: "feature" }, this.label);
  }

  refuse(sentence) {
    this.sentence = sentence;
    this.control.setAttribute("aria-invalid", sentence !== "");
    this.remarkOn(sentence || this.doubt(), sentence !== "");
  }

  remarkOn(text, wrong) {
    this.remark.textContent = text;
    this.remark.classList.toggle("wrong", wrong);
  }

  doubt() {
    return "";
  }

  focus() {
    this.control.focus();
  }

  missing(change) {
    if (!this.feature.missing) return "";
    this.absent = element("input", { type: "checkbox", "aria-describedby": `${this.id}-name`, onchange: change });
    return element("label", { class: "missing" }, this.absent, "missing");
  }
}

class Numeric extends Row {
  constructor(feature, index, change) {
    super(feature, index);
    this.change = change;
    this.control = element("input", { id: this.id, class: "number", type: "text", inputmode: "decimal",
      autocomplete: "off", spellcheck: "false", "aria-describedby": this.remark.id, oninput: () => this.typed() });
    this.element.append(this.track(), this.control, this.missing(() => this.toggled()), this.remark);
    this.known = usual(feature);
  }

  track() {
    const { minimum: least, maximum: most, median } = this.feature;
    if (!(least < most)) return element("span", { class: "track muted" }, least === undefined ? "" : "constant in training");
    const whole = [least, most, median ?? least].every(Number.isInteger);
    this.step = stepBetween(least, most, whole);
    this.slider = element("input", { type: "range", min: least, max: most, step: whole ? 1 : "any", "aria-labelledby": this.label.id,
      oninput: () => this.slid() });
    const ends = element("span", { class: "ends", "aria-hidden": "true" }, element("span", { title: "least in training" }, figure(least)),
      element("span", { title: "most in training" }, figure(most)));
    const mark = element("span", { class: "median", title: `median ${figure(median ?? NaN)}` });
    mark.style.setProperty("--at", (median - least) / (most - least));
    return element("span", { class: "track" }, this.slider, median === undefined ? "" : mark, ends);
  }

  show(cell) {
    this.control.value = cell === "null" ? "" : cell.startsWith('"') ? JSON.parse(cell) : cell;
    this.follow(cell);
  }

  follow(cell) {
    const empty = cell === "null";
    if (!empty) this.known = cell;
    if (this.absent) this.absent.checked = empty;
    this.control.placeholder = empty && this.absent ? "missing" : "";
    this.element.classList.toggle("empty", empty);
    if (this.slider && Number.isFinite(Number(cell)) && !empty) this.slider.value = cell;
    this.value = empty ? NaN : Number(cell);
    if (!this.sentence) this.remarkOn(this.doubt(), false);
  }

  doubt() {
    const { minimum: least, maximum: most } = this.feature;
    const outside = this.value < least || this.value > most;
    return outside ? `outside what it was trained on, ${figure(least)} to ${figure(most)}` : "";
  }

  typed() {
    const cell = numberAsJson(this.control.value);
    this.follow(cell);
    this.change(cell, true);
  }

  slid() {
    const { minimum: least, maximum: most } = this.feature;
    const at = Number(this.slider.value);
    const near = at <= least ? least : at >= most ? most : stepped(at, this.step);
    this.take(asJson(Math.min(Math.max(near, least), most)));
  }

  toggled() {
    this.take(this.absent.checked ? "null" : this.known);
  }

  take(cell) {
    this.show(cell);
    this.change(cell, false);
  }
}

class Category extends Row {
  constructor(feature, index, change) {
    super(feature, index);
    this.change = change;
    this.cells = feature.categories.map(textAsJson);
    const options = feature.categories.map((text, at) => element("option", { value: at }, visible(text) || "(empty text)"));
    if (feature.missing) options.push(element("option", { value: "missing" }, "missing"));
    if (!feature.closed) options.push(element("option", { value: "other" }, "something else…"));
    this.control = element("select", { id: this.id, "aria-describedby": this.remark.id, onchange: () => this.chosen() }, options);
    this.other = element("input", { type: "text", class: "other", autocomplete: "off", "aria-labelledby": this.label.id, hidden: true,
      oninput: () => this.change(textAsJson(this.other.value), true) });
    this.element.append(element("span", { class: "choice" }, this.control, this.other), this.remark);
  }

  show(cell) {
    const at = this.cells.indexOf(cell);
    this.control.value = at >= 0 ? at : cell === "null" ? "missing" : "other";
    this.other.hidden = this.control.value !== "other";
    if (!this.other.hidden && cell.startsWith('"')) this.other.value = JSON.parse(cell);
    this.doubtful = this.control.value === "other";
    if (!this.sentence) this.remarkOn(this.doubt(), false);
  }

  doubt() {
    return this.doubtful ? "not among what it was trained on" : "";
  }

  chosen() {
    const { value } = this.control;
    const cell = value === "missing" ? "null" : value === "other" ? textAsJson(this.other.value) : this.cells[value];
    this.show(cell);
    if (value === "other") this.control.value = value;
    this.other.hidden = value !== "other";
    if (value === "other") this.other.focus();
    this.change(cell, false);
  }
}

/** The whole row as one line of JSON, to be copied, edited or pasted. */
class Line {
  constructor(form) {
    this.form = form;
    this.text = element("textarea", { rows: 3, spellcheck: "false", autocomplete: "off", "aria-label": "The row as JSON", oninput: () => this.typed() });
    this.remark = element("p", { class: "remark wrong", "aria-live": "polite" });
    this.element = element("details", { class: "line", ontoggle: () => this.show() },
      element("summary", {}, "The row as one line"), this.text, this.remark);
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
    row = text.trim().split(text.includes("\t") ? "\t" : ",").map((part) => part.trim());
    row = row.map((part, index) => (features[index]?.kind === "number" ? JSON.parse(numberAsJson(part)) : part));
  }
  if (!Array.isArray(row) && row !== null && typeof row === "object") row = features.map(({ name }) => row[name] ?? null);
  if (!Array.isArray(row)) throw new Error("a row is an array of values, or an object of them by name");
  if (row.length !== features.length) throw new Error(`${plural(row.length, "value")}, but there are ${plural(features.length, "feature")}`);
  return row.map(asJson);
}

/** What a feature starts with. */
function usual(feature) {
  if (feature.kind === "category") return feature.categories?.length ? textAsJson(feature.categories[0]) : feature.missing ? "null" : '""';
  const { minimum: least, maximum: most, median } = feature;
  const middle = median ?? least ?? most ?? 0;
  if (!(least < most) || String(middle).length <= SHORT) return asJson(middle);
  // No more digits than tell it apart.
  return asJson(Math.min(Math.max(stepped(middle, stepBetween(least, most, false) / 10), least), most));
}

/** Any value within the training range. */
function anyOf(feature) {
  const { categories, minimum: least, maximum: most, median } = feature;
  if (feature.kind === "category") return categories?.length ? textAsJson(categories[Math.floor(Math.random() * categories.length)]) : usual(feature);
  if (!(least < most)) return usual(feature);
  const step = stepBetween(least, most, [least, most, median ?? least].every(Number.isInteger));
  // A sum of two shares, as the difference of the ends may be too large for a number.
  const share = Math.random();
  const near = stepped(least * (1 - share) + most * share, step);
  return asJson(Math.min(Math.max(near, least), most));
}
