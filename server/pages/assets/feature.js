// The control of one feature.

import { dateOf, isDate } from "./dates.js";
import { element, isolated, visible } from "./element.js";
import { asJson, figure, numberAsJson, stepBetween, stepped, textAsJson } from "./numbers.js";

// A median of more characters is rounded.
const DIGITS = 7;
// A truth value as a number, as golden rows and tables have it.
const TRUTH = { 0: "false", 1: "true" };
const COMMA = /^\s*([+-]?\d*),(\d+)\s*$/;

/** A name, a control, and a remark under it. */
class Row {
  constructor(feature, index) {
    this.feature = feature;
    this.id = `feature-${index}`;
    this.label = element(
      "label",
      { class: "name", for: this.id, id: `${this.id}-name` },
      isolated(feature.name, { title: visible(feature.name) }),
    );
    this.remark = element("p", { class: "remark", id: `${this.id}-remark` });
    this.element = element("div", { class: "feature" }, this.label);
  }

  refuse(sentence) {
    this.sentence = sentence;
    this.control.setAttribute("aria-invalid", sentence !== "");
    this.drawRemark();
  }

  drawRemark() {
    this.remark.textContent = [this.sentence || this.warning(), this.hint()].filter(Boolean).join("; ");
    this.remark.classList.toggle("wrong", Boolean(this.sentence));
  }

  warning() {
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
    this.missingBox = element("input", {
      type: "checkbox",
      "aria-describedby": `${this.id}-name`,
      onchange: change,
    });
    return element("label", { class: "missing" }, this.missingBox, "missing");
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
    this.lastValue = usual(feature);
  }

  track() {
    const { minimum, maximum, median } = this.feature;
    if (!(minimum < maximum))
      return element("span", { class: "track muted" }, minimum === undefined ? "" : "constant in training");
    const whole = [minimum, maximum, median ?? minimum].every(Number.isInteger);
    this.step = this.stepBetween(minimum, maximum, whole);
    this.slider = element("input", {
      type: "range",
      min: minimum,
      max: maximum,
      step: whole ? 1 : "any",
      "aria-labelledby": this.label.id,
      oninput: () => this.slid(),
    });
    const ends = element(
      "span",
      { class: "ends", "aria-hidden": "true" },
      element("span", { title: "training minimum" }, this.figure(minimum)),
      element("span", { title: "training maximum" }, this.figure(maximum)),
    );
    const title = median === undefined ? "" : `median ${this.figure(median)}`;
    const mark = element("span", { class: "median", title });
    mark.style.setProperty("--at", (median - minimum) / (maximum - minimum));
    return element("span", { class: "track" }, this.slider, median === undefined ? "" : mark, ends);
  }

  show(cell) {
    this.control.value = cell === "null" ? "" : cell.startsWith('"') ? JSON.parse(cell) : cell;
    this.follow(cell);
  }

  follow(cell) {
    const empty = cell === "null";
    if (!empty) this.lastValue = cell;
    if (this.missingBox) this.missingBox.checked = empty;
    this.control.placeholder = empty && this.missingBox ? "missing" : "";
    this.element.classList.toggle("empty", empty);
    this.value = empty ? NaN : this.number(cell);
    if (this.slider && Number.isFinite(this.value)) this.slider.value = this.value;
    this.drawRemark();
  }

  number(cell) {
    return Number(cell);
  }

  figure(number) {
    return figure(number);
  }

  stepBetween(minimum, maximum, whole) {
    return stepBetween(minimum, maximum, whole);
  }

  stepped(position) {
    return stepped(position, this.step);
  }

  cellOf(number) {
    return asJson(number);
  }

  typedCell(text) {
    return numberAsJson(text);
  }

  warning() {
    const { minimum, maximum } = this.feature;
    const outside = this.value < minimum || this.value > maximum;
    return outside ? `outside the training range, ${this.figure(minimum)} to ${this.figure(maximum)}` : "";
  }

  hint() {
    const [comma, whole, fraction] = COMMA.exec(this.control.value) ?? [];
    return comma ? `write a decimal point: ${whole}.${fraction}` : "";
  }

  typed() {
    const cell = this.typedCell(this.control.value);
    this.follow(cell);
    this.change(cell, true);
  }

  slid() {
    const { minimum, maximum } = this.feature;
    const position = Number(this.slider.value);
    const atEnd = position <= minimum || position >= maximum;
    this.accept(this.cellOf(clamped(atEnd ? position : this.stepped(position), minimum, maximum)));
  }

  toggled() {
    this.accept(this.missingBox.checked ? "null" : this.lastValue);
  }

  accept(cell) {
    this.show(cell);
    this.change(cell, false);
  }
}

/** The cells a feature offers: categories, its only numbers, true and false; null if it has a range. */
export function choices(feature) {
  if (feature.kind === "category") return (feature.categories ?? []).map(textAsJson);
  if (feature.boolean) return ["false", "true"];
  return feature.closed ? feature.values.map(asJson) : null;
}

/** A choice among the cells of a feature, or any text where the model accepts other categories. */
export class Choice extends Row {
  constructor(feature, index, change) {
    super(feature, index);
    this.change = change;
    this.cells = choices(feature);
    const options = this.cells.map((cell, index) =>
      element("option", { value: index }, visible(String(JSON.parse(cell))) || "(empty text)"),
    );
    if (feature.missing) options.push(element("option", { value: "missing" }, "missing"));
    if (feature.kind === "category" && !feature.closed)
      options.push(element("option", { value: "other" }, "another text…"));
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
    const index = this.cells.indexOf(this.feature.boolean ? (TRUTH[cell] ?? cell) : cell);
    this.control.value = index >= 0 ? index : cell === "null" ? "missing" : "other";
    this.other.hidden = this.control.value !== "other";
    if (!this.other.hidden && cell.startsWith('"')) this.other.value = JSON.parse(cell);
    this.untrained = this.control.value === "other";
    this.drawRemark();
  }

  warning() {
    return this.untrained ? "not among the training categories" : "";
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

/** The value that a feature starts with: about its median, or its first category. */
export function usual(feature) {
  if (feature.kind === "category")
    return feature.categories?.length ? textAsJson(feature.categories[0]) : feature.missing ? "null" : '""';
  const { minimum, maximum, median } = feature;
  const middle = median ?? minimum ?? maximum ?? 0;
  if (isDate(feature)) return textAsJson(dateOf(middle, feature.notation));
  if (feature.boolean) return String(middle >= 0.5);
  if (feature.closed) return asJson(nearest(feature.values, middle));
  if (!(minimum < maximum) || String(middle).length <= DIGITS) return asJson(middle);
  // A tenth of the slider's step is precise enough, and short.
  return asJson(clamped(stepped(middle, stepBetween(minimum, maximum, false) / 10), minimum, maximum));
}

/** A random value within the training range. */
export function random(feature) {
  const { minimum, maximum, median } = feature;
  const cells = choices(feature);
  if (cells?.length) return cells[Math.floor(Math.random() * cells.length)];
  if (cells || !(minimum < maximum)) return usual(feature);
  if (isDate(feature)) {
    const seconds = minimum + Math.random() * (maximum - minimum);
    const unit = feature.notation.times ? 60 : 86400;
    return textAsJson(dateOf(clamped(unit * Math.round(seconds / unit), minimum, maximum), feature.notation));
  }
  const step = stepBetween(minimum, maximum, [minimum, maximum, median ?? minimum].every(Number.isInteger));
  // A weighted sum: the difference of the ends may overflow.
  const share = Math.random();
  return asJson(clamped(stepped(minimum * (1 - share) + maximum * share, step), minimum, maximum));
}

function nearest(values, middle) {
  return values.reduce((best, value) => (Math.abs(value - middle) < Math.abs(best - middle) ? value : best));
}

function clamped(value, minimum, maximum) {
  return Math.min(Math.max(value, minimum), maximum);
}
