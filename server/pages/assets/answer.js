// The model's answer: the predicted class, a bar for each class, and the time it took.

import { element, isolated, visible } from "./element.js";
import { duration, figure, percent } from "./numbers.js";

// With more classes than MANY, only the FIRST by score are shown at first.
const MANY = 12;
const FIRST = 10;

export class Answer {
  constructor(manifest, reveal) {
    this.reveal = reveal;
    this.winner = element("output", { class: "winner", "aria-live": "polite" });
    this.label = element("span", { class: "muted" });
    this.bars = element("ol", { class: "bars" });
    this.more = element("button", { type: "button", class: "quiet", onclick: () => this.toggle() });
    this.proof = element("p", { class: "proof" });
    this.timing = element("p", { class: "timing muted" });
    this.trouble = element("p", { class: "trouble", role: "status" });
    this.result = element(
      "div",
      { class: "result" },
      element("p", { class: "headline" }, this.winner, this.label),
      this.bars,
      this.more,
      this.proof,
    );
    this.element = element(
      "section",
      { class: "panel answer", "aria-label": "Answer" },
      element("h2", {}, "Answer"),
      this.trouble,
      this.result,
      this.timing,
    );
    // Repeats the answer below a form that leaves no room beside it; screen readers have the other one.
    this.brief = element("p", { class: "brief", "aria-hidden": "true" });
    this.describe(manifest);
  }

  /** Show the classes of this version; the bars stay where it has the same ones. */
  describe(manifest) {
    const unchanged = this.manifest && same(this.manifest.class_names, manifest.class_names);
    this.manifest = manifest;
    this.bars.setAttribute("aria-label", manifest.outputs.kind);
    if (unchanged) return;
    this.rows = manifest.class_names.map((name) => bar(name));
    this.all = this.rows.length <= MANY;
    this.more.hidden = this.all;
  }

  /** The form has changed: grey the answer to its earlier values. */
  outdate(faulty) {
    this.setStale(true);
    if (!faulty) this.trouble.replaceChildren();
  }

  setStale(stale) {
    this.element.classList.toggle("stale", stale);
    this.brief.classList.toggle("stale", stale);
  }

  toggle() {
    this.all = !this.all;
    this.draw();
  }

  /** Show an answer of the version with this manifest; `golden` is the index of its golden row, or -1. */
  show({ scores, predicted, label }, manifest, times, golden) {
    this.describe(manifest);
    this.scores = scores;
    this.predicted = predicted;
    this.label.textContent = String(label) === predicted ? "" : `label ${visible(label)}`;
    this.trouble.replaceChildren();
    this.draw();
    this.compare(golden);
    this.drawTimes(times);
  }

  draw() {
    if (!this.scores) return;
    const { class_names: names, outputs } = this.manifest;
    const best = names.indexOf(this.predicted);
    if (this.winner.dataset.name !== this.predicted) {
      this.winner.dataset.name = this.predicted;
      this.winner.replaceChildren(isolated(this.predicted));
    }
    const value = outputs.kind === "probabilities" ? percent(this.scores[best]) : figure(this.scores[best]);
    this.brief.replaceChildren(isolated(this.predicted), element("span", {}, value));
    const scale = outputs.kind === "probabilities" ? 1 : Math.max(...this.scores.map(Math.abs)) || 1;
    const sides = this.scores.some((score) => score < 0);
    this.scores.forEach((score, index) =>
      this.rows[index].show(score, { scale, sides, kind: outputs.kind, best: index === best }),
    );
    this.bars.classList.toggle("sides", sides);
    const order = names.map((_, index) => index);
    const listed = this.all ? order : order.sort((a, b) => this.scores[b] - this.scores[a]).slice(0, FIRST);
    this.arrange(listed.map((index) => this.rows[index].element));
    this.more.textContent = this.all ? `Only the top ${FIRST}` : `All ${names.length} classes`;
  }

  arrange(rows) {
    if (!same(rows, [...this.bars.children])) this.bars.replaceChildren(...rows);
  }

  /** Compare the answer to a golden row with the pipeline's. */
  compare(golden) {
    this.proof.replaceChildren();
    if (golden < 0) return;
    const { scores, labels } = this.manifest.golden;
    const { classes, class_names: names, parity } = this.manifest;
    const differences = this.scores.map((score, index) => Math.abs(score - scores[golden][index]));
    const label = names[classes.indexOf(labels[golden])];
    const equal =
      label === this.predicted &&
      Math.max(...differences) <= parity.tolerance * Math.max(1, ...scores[golden].map(Math.abs));
    this.proof.classList.toggle("wrong", !equal);
    this.proof.append(
      equal ? "✓ " : "✗ ",
      "The scikit-learn pipeline answered ",
      isolated(label),
      Math.max(...differences) === 0
        ? ", identical to the last digit."
        : `; the largest difference is ${figure(Math.max(...differences), 2)}.`,
    );
  }

  drawTimes({ roundTrip, server, version }) {
    this.timing.replaceChildren(element("strong", {}, duration(roundTrip)), " round trip");
    if (server.total !== undefined) this.timing.append(`, ${duration(server.total)} of it in the server`);
    if (server.run !== undefined) this.timing.append(`, ${duration(server.run)} in the model`);
    this.timing.append(` · version ${version}`);
  }

  /** Say why there is no answer to this row; the last answer stays, greyed. */
  refuse(sentence, feature) {
    this.setStale(true);
    this.proof.replaceChildren();
    this.trouble.replaceChildren(visible(sentence));
    if (feature !== undefined) {
      const reveal = () => this.reveal(feature);
      const button = element("button", { type: "button", class: "link", onclick: reveal }, "Show it");
      this.trouble.append(" ", button);
    }
  }
}

/** {scores, predicted, label} of one row, scores in class order; null where the classes do not match. */
export function read(document, { class_names: names, outputs: { kind } }) {
  const members = [document[kind], document.predicted_class, document.prediction];
  const [row, predicted, label] = members.map(first);
  const scores = Array.isArray(row) ? row : names.map((name) => row?.[name]);
  const fits = scores.length === names.length && scores.every(Number.isFinite) && names.includes(predicted);
  return fits ? { scores, predicted, label } : null;
}

/** An array of features is answered by an array of one element, a record by the element itself. */
function first(value) {
  return Array.isArray(value) ? value[0] : value;
}

function same(left, right) {
  return left.length === right.length && left.every((value, index) => value === right[index]);
}

function bar(name) {
  const fill = element("span", { class: "fill" });
  const value = element("span", { class: "value" });
  const row = element(
    "li",
    {},
    isolated(name, { class: "class", title: visible(name) }),
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    value,
  );
  const show = (score, { scale, sides, kind, best }) => {
    const share = Math.min(Math.abs(score) / scale, 1);
    const width = sides ? share / 2 : share;
    fill.style.setProperty("width", `${100 * width}%`);
    fill.style.setProperty("margin-left", `${sides ? 100 * (score < 0 ? 0.5 - width : 0.5) : 0}%`);
    row.classList.toggle("best", best);
    value.textContent = kind === "probabilities" ? percent(score) : figure(score);
    value.title = String(score);
  };
  return { element: row, show };
}
