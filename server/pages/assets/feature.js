// One feature of a row, to be filled in.

import { element, named, visible } from "./element.js";
import { asJson, figure, numberAsJson, stepBetween, stepped, textAsJson } from "./numbers.js";

const SHORT = 7;
const COMMA = /^\s*([+-]?\d*),(\d+)\s*$/;

/** What the two have in common: a name, a control, and a remark under it. */
class Row {
  constructor(feature, index) {
    this.feature = feature;
    this.id = `feature-${index}`;
    this.label = element(
      "label",
      { class: "name", for: this.id, id: `${this.id}-name` },
      named(feature.name, { title: visible(feature.name) }),
    );
    this.remark = element("p", { class: "remark", id: `${this.id}-remark` });
    this.element = element("div", { class: "feature" }, this.label);
  }

  refuse(sentence) {
    this.sentence = sentence;
    this.control.setAttribute("aria-invalid", sentence !== "");
    this.say();
  }

  say() {
    this.remark.textContent = [this.sentence || this.doubt(), this.hint()].filter(Boolean).join("; ");
    this.remark.classList.toggle("wrong", Boolean(this.sentence));
  }

  doubt() {
    return "";
  }

  hint() {
    return "";
  }

  focus() {
    this.control.focus();
  }

  missing(change) {
    if (!this.feature.missing) return "";
    this.absent = element("input", {
      type: "checkbox",
      "aria-describedby": `${this.id}-name`,
      onchange: change,
    });
    return element("label", { class: "missing" }, this.absent, "missing");
  }
}

/** A number: a field, and a slider over its training range. */
export class Numeric extends Row {
  constructor(feature, index, change) {
    super(feature, index);
    this.change = change;
    this.control = element("input", {
      id: this.id,
      class: "number",
      type: "text",
      inputmode: "decimal",
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": this.remark.id,
      oninput: () => this.typed(),
    });
    this.element.append(
      this.track(),
      this.control,
      this.missing(() => this.toggled()),
      this.remark,
    );
    this.known = usual(feature);
  }

  track() {
    const { minimum: least, maximum: most, median } = this.feature;
    if (!(least < most))
      return element("span", { class: "track muted" }, least === undefined ? "" : "constant in training");
    const whole = [least, most, median ?? least].every(Number.isInteger);
    this.step = stepBetween(least, most, whole);
    this.slider = element("input", {
      type: "range",
      min: least,
      max: most,
      step: whole ? 1 : "any",
      "aria-labelledby": this.label.id,
      oninput: () => this.slid(),
    });
    const ends = element(
      "span",
      { class: "ends", "aria-hidden": "true" },
      element("span", { title: "least in training" }, figure(least)),
      element("span", { title: "most in training" }, figure(most)),
    );
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
    this.say();
  }

  doubt() {
    const { minimum: least, maximum: most } = this.feature;
    const outside = this.value < least || this.value > most;
    return outside ? `outside what it was trained on, ${figure(least)} to ${figure(most)}` : "";
  }

  hint() {
    const [comma, whole, fraction] = COMMA.exec(this.control.value) ?? [];
    return comma ? `a point parts decimals: ${whole}.${fraction}` : "";
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

/** A choice among categories; something else where the model takes that. */
export class Category extends Row {
  constructor(feature, index, change) {
    super(feature, index);
    this.change = change;
    const known = feature.categories ?? [];
    this.cells = known.map(textAsJson);
    const options = known.map((text, at) =>
      element("option", { value: at }, visible(text) || "(empty text)"),
    );
    if (feature.missing) options.push(element("option", { value: "missing" }, "missing"));
    if (!feature.closed) options.push(element("option", { value: "other" }, "something else…"));
    this.control = element(
      "select",
      { id: this.id, "aria-describedby": this.remark.id, onchange: () => this.chosen() },
      options,
    );
    this.other = element("input", {
      type: "text",
      class: "other",
      autocomplete: "off",
      "aria-labelledby": this.label.id,
      hidden: true,
      oninput: () => this.change(textAsJson(this.other.value), true),
    });
    this.element.append(element("span", { class: "choice" }, this.control, this.other), this.remark);
  }

  show(cell) {
    const at = this.cells.indexOf(cell);
    this.control.value = at >= 0 ? at : cell === "null" ? "missing" : "other";
    this.other.hidden = this.control.value !== "other";
    if (!this.other.hidden && cell.startsWith('"')) this.other.value = JSON.parse(cell);
    this.doubtful = this.control.value === "other";
    this.say();
  }

  doubt() {
    return this.doubtful ? "not among what it was trained on" : "";
  }

  chosen() {
    const { value } = this.control;
    const cell =
      value === "missing" ? "null" : value === "other" ? textAsJson(this.other.value) : this.cells[value];
    this.show(cell);
    if (value === "other") this.control.value = value;
    this.other.hidden = value !== "other";
    if (value === "other") this.other.focus();
    this.change(cell, false);
  }
}

/** What a feature starts with. */
export function usual(feature) {
  if (feature.kind === "category")
    return feature.categories?.length ? textAsJson(feature.categories[0]) : feature.missing ? "null" : '""';
  const { minimum: least, maximum: most, median } = feature;
  const middle = median ?? least ?? most ?? 0;
  if (!(least < most) || String(middle).length <= SHORT) return asJson(middle);
  // No more digits than tell it apart.
  return asJson(Math.min(Math.max(stepped(middle, stepBetween(least, most, false) / 10), least), most));
}

/** Any value within the training range. */
export function anyOf(feature) {
  const { categories, minimum: least, maximum: most, median } = feature;
  if (feature.kind === "category")
    return categories?.length
      ? textAsJson(categories[Math.floor(Math.random() * categories.length)])
      : usual(feature);
  if (!(least < most)) return usual(feature);
  const step = stepBetween(least, most, [least, most, median ?? least].every(Number.isInteger));
  // A sum of two shares, as the difference of the ends may be too large for a number.
  const share = Math.random();
  const near = stepped(least * (1 - share) + most * share, step);
  return asJson(Math.min(Math.max(near, least), most));
}
