// The model's answer: its class, a bar for each class, and how long it took.

import { element, named, visible } from "./element.js";
import { duration, figure, percent } from "./numbers.js";

const MANY = 12;
const FIRST = 10;

export class Answer {
  constructor(manifest, reveal) {
    this.reveal = reveal;
    this.winner = element("output", { class: "winner", "aria-live": "polite" });
    this.label = element("span", { class: "muted" });
    this.bars = element("ol", { class: "bars" });
    this.rest = element("button", { type: "button", class: "quiet", onclick: () => this.toggle() });
    this.proof = element("p", { class: "proof" });
    this.timing = element("p", { class: "timing muted" });
    this.trouble = element("p", { class: "trouble", role: "status" });
    this.found = element(
      "div",
      { class: "found" },
      element("p", { class: "headline" }, this.winner, this.label),
      this.bars,
      this.rest,
      this.proof,
    );
    this.element = element(
      "section",
      { class: "panel answer", "aria-label": "Answer" },
      element("h2", {}, "Answer"),
      this.trouble,
      this.found,
      this.timing,
    );
    // Where the form leaves no room for the bars beside it.
    this.brief = element("p", { class: "brief", "aria-hidden": "true" });
    this.of(manifest);
  }

  /** The classes of this version are those that are shown. */
  of(manifest) {
    const known = this.manifest && same(this.manifest.class_names, manifest.class_names);
    this.manifest = manifest;
    this.bars.setAttribute("aria-label", manifest.outputs.kind);
    if (known) return;
    this.rows = manifest.class_names.map((name) => bar(name));
    this.all = this.rows.length <= MANY;
    this.rest.hidden = this.all;
  }

  /** What is on screen is no longer what was answered. */
  outlive(faulty) {
    this.stale(true);
    if (!faulty) this.trouble.replaceChildren();
  }

  stale(is) {
    this.element.classList.toggle("stale", is);
    this.brief.classList.toggle("stale", is);
  }

  toggle() {
    this.all = !this.all;
    this.draw();
  }

  /** What the version of that manifest answered; `golden` says which of its golden rows that is, or -1. */
  show({ scores, predicted, label }, manifest, times, golden) {
    this.of(manifest);
    this.scores = scores;
    this.predicted = predicted;
    this.label.textContent = String(label) === predicted ? "" : `label ${visible(label)}`;
    this.trouble.replaceChildren();
    this.draw();
    this.prove(golden);
    this.time(times);
  }

  draw() {
    if (!this.scores) return;
    const { class_names: names, outputs } = this.manifest;
    const best = names.indexOf(this.predicted);
    if (this.winner.dataset.name !== this.predicted) {
      this.winner.dataset.name = this.predicted;
      this.winner.replaceChildren(named(this.predicted));
    }
    const value = outputs.kind === "probabilities" ? percent(this.scores[best]) : figure(this.scores[best]);
    this.brief.replaceChildren(named(this.predicted), element("span", {}, value));
    const scale = outputs.kind === "probabilities" ? 1 : Math.max(...this.scores.map(Math.abs)) || 1;
    const sides = this.scores.some((score) => score < 0);
    this.scores.forEach((score, index) =>
      this.rows[index].show(score, { scale, sides, kind: outputs.kind, best: index === best }),
    );
    this.bars.classList.toggle("sides", sides);
    const order = names.map((_, index) => index);
    const shown = this.all ? order : order.sort((a, b) => this.scores[b] - this.scores[a]).slice(0, FIRST);
    this.arrange(shown.map((index) => this.rows[index].element));
    this.rest.textContent = this.all ? `Only the first ${FIRST}` : `All ${names.length} classes`;
  }

  arrange(rows) {
    if (!same(rows, [...this.bars.children])) this.bars.replaceChildren(...rows);
  }

  prove(golden) {
    this.proof.replaceChildren();
    if (golden < 0) return;
    const { scores, labels } = this.manifest.golden;
    const { classes, class_names: names, parity } = this.manifest;
    const differences = this.scores.map((score, index) => Math.abs(score - scores[golden][index]));
    const label = names[classes.indexOf(labels[golden])];
    const right =
      label === this.predicted &&
      Math.max(...differences) <= parity.tolerance * Math.max(1, ...scores[golden].map(Math.abs));
    this.proof.classList.toggle("wrong", !right);
    this.proof.append(
      right ? "✓ " : "✗ ",
      "The scikit-learn pipeline itself answered ",
      named(label),
      Math.max(...differences) === 0
        ? ", to the last digit the same."
        : `; the largest difference is ${figure(Math.max(...differences), 2)}.`,
    );
  }

  time({ trip, server, version }) {
    this.timing.replaceChildren(element("strong", {}, duration(trip)), " there and back");
    if (server.total !== undefined) this.timing.append(`, ${duration(server.total)} of it in the server`);
    if (server.run !== undefined) this.timing.append(`, ${duration(server.run)} in the model`);
    this.timing.append(` · version ${version}`);
  }

  /** Why there is no answer to what is on screen; the one before stays, greyed. */
  refuse(sentence, feature) {
    this.stale(true);
    this.proof.replaceChildren();
    this.trouble.replaceChildren(visible(sentence));
    if (feature !== undefined) {
      const go = () => this.reveal(feature);
      this.trouble.append(" ", element("button", { type: "button", class: "link", onclick: go }, "Show it"));
    }
  }
}

/** {scores, predicted, label} of one row, scores in class order; null where the classes are not those. */
export function read(document, { class_names: names, outputs: { kind } }) {
  const found = [document[kind], document.predicted_class, document.prediction];
  const [given, predicted, label] = found.map(first);
  const scores = Array.isArray(given) ? given : names.map((name) => given?.[name]);
  const fits = scores.length === names.length && scores.every(Number.isFinite) && names.includes(predicted);
  return fits ? { scores, predicted, label } : null;
}

/** Rows of features are answered by arrays, a record by itself. */
function first(value) {
  return Array.isArray(value) ? value[0] : value;
}

function same(one, other) {
  return one.length === other.length && one.every((value, index) => value === other[index]);
}

function bar(name) {
  const fillet = element("span", { class: "fillet" });
  const value = element("span", { class: "value" });
  const row = element(
    "li",
    {},
    named(name, { class: "class", title: visible(name) }),
    element("span", { class: "beam", "aria-hidden": "true" }, fillet),
    value,
  );
  const show = (score, { scale, sides, kind, best }) => {
    const share = Math.min(Math.abs(score) / scale, 1);
    const width = sides ? share / 2 : share;
    fillet.style.setProperty("width", `${100 * width}%`);
    fillet.style.setProperty("margin-left", `${sides ? 100 * (score < 0 ? 0.5 - width : 0.5) : 0}%`);
    row.classList.toggle("best", best);
    value.textContent = kind === "probabilities" ? percent(score) : figure(score);
    value.title = String(score);
  };
  return { element: row, show };
}
