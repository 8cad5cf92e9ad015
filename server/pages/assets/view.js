// One model, or one version of it, on the page.

import { address, path } from "./address.js";
import { Answer } from "./answer.js";
import { card, className } from "./card.js";
import { isDate } from "./dates.js";
import { Drift } from "./drift.js";
import { element, isolated, visible } from "./element.js";
import { get, post } from "./exchange.js";
import { Explanation } from "./explanation.js";
import { Form } from "./form.js";
import { asJson, plural } from "./numbers.js";
import { outputsOf } from "./outputs.js";
import { body, Snippets } from "./snippets.js";
import { Truth } from "./truth.js";

// Milliseconds from the last key to the request, and from the first answer of a new version to its card.
const TYPING = 90;
const SETTLING = 1_000;

// Kinds of features in words.
const KINDS = [
  ["numbers", (feature) => feature.kind === "number" && !isDate(feature)],
  ["dates", isDate],
  ["categories", ({ kind }) => kind === "category"],
];

/**
 * The form of a model, its answers and its card. `values` are cells by feature name to start with;
 * `outdated()` is called when the server no longer serves what the card describes.
 */
export class View {
  constructor(model, target, values, outdated) {
    this.name = model.name;
    this.manifest = model.manifest;
    this.version = String(model.version);
    this.versions = expected(model, target);
    this.outputs = outputsOf(model.manifest);
    this.byVersion = new Map([[this.version, this.outputs]]);
    this.outdated = outdated;
    this.predict = `${path(model.name, target)}/predict`;
    this.golden = model.manifest.golden.rows.map((row) => row.map(asJson).join());
    this.form = new Form(model.manifest, (typing) => this.changed(typing), values);
    this.answer = new Answer(this.outputs, (feature) => this.form.reveal(feature));
    this.snippets = new Snippets(new URL(this.predict, document.baseURI).href, model.manifest.features);
    this.drift = new Drift(`${path(model.name)}/drift`, this.version);
    this.truth = new Truth(path(model.name), this.version, this.outputs);
    this.explanation = new Explanation(model.name);
    this.answer.element.append(this.explanation.element);
    this.form.element.append(this.answer.brief);
    this.elements = [
      heading(model, target),
      element("div", { class: "bench" }, this.form.element, this.answer.element, this.snippets.element),
      this.truth.element,
      this.drift.element,
      card(model),
    ];
    this.drift.show();
    this.truth.show();
  }

  /** Send no more requests: the page shows something else. */
  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  values() {
    return new Map(this.manifest.features.map(({ name }, index) => [name, this.form.cells[index]]));
  }

  changed(typing) {
    this.snippets.show(this.form.cells);
    this.answer.outdate(this.form.fault !== null);
    clearTimeout(this.timer);
    if (typing) this.timer = setTimeout(() => this.request(), TYPING);
    else this.request();
  }

  /** Predict, one request at a time: after a response, the next request sends what the form holds then. */
  async request() {
    this.snippets.show(this.form.cells);
    this.again = this.busy;
    if (this.busy) return;
    this.busy = true;
    try {
      do {
        this.again = false;
        await this.exchange([...this.form.cells]);
      } while (this.again && !this.closed);
    } finally {
      this.busy = false;
    }
  }

  async exchange(cells) {
    const response = await post(this.predict, body(this.manifest.features, cells));
    if (!response.ok) return this.refuse(cells, response.document);
    const version = response.version ?? this.version;
    const outputs = await this.outputsFrom(version);
    const answer = outputs && outputs.read(response.document);
    if (this.closed) return;
    const outside = response.document.outside ?? [];
    if (answer) this.show(cells, answer, outputs, { ...response.times, version }, outside);
    else this.refuse(cells, { error: `version ${version} answered; its card is on the way` });
    if (!answer) this.byVersion.delete(version);
    if (!answer || !this.versions.includes(version)) this.renew();
  }

  /** Those of the version that answered, as traffic may be split; null where its card cannot be fetched. */
  async outputsFrom(version) {
    if (!this.byVersion.has(version)) {
      const model = await get(path(this.name, { kind: "versions", id: version })).catch(() => null);
      this.byVersion.set(version, model && outputsOf(model.manifest));
    }
    return this.byVersion.get(version);
  }

  /** Load the page anew, once: workers change to a new version one after the other. */
  renew() {
    this.renewing ??= setTimeout(() => this.closed || this.outdated(), SETTLING);
  }

  /** Whether the form still holds these cells. */
  holds(cells) {
    return cells.join() === this.form.cells.join();
  }

  show(cells, answer, outputs, times, outside) {
    const golden = outputs === this.outputs ? this.golden.indexOf(cells.join()) : -1;
    this.form.refuse();
    this.answer.show(answer, outputs, times, golden, outside);
    this.answer.setStale(!this.holds(cells));
    this.explanation.show(body(this.manifest.features, cells), times.version, outputs);
  }

  refuse(cells, { error, feature }) {
    // An error about earlier text must not stand beside this text.
    if (this.closed || !this.holds(cells)) return;
    this.form.refuse(feature, error);
    this.answer.refuse(error, feature);
  }
}

/** The versions that may answer. */
function expected(model, target) {
  return target ? [String(model.version)] : Object.keys(model.traffic);
}

function heading(model, target) {
  const { manifest } = model;
  const kinds = KINDS.filter(([, has]) => manifest.features.some(has)).map(([kind]) => kind);
  const mixed = kinds.length > 1 ? `, ${kinds.slice(0, -1).join(", ")} and ${kinds.at(-1)}` : "";
  return element(
    "div",
    { class: "heading" },
    element("h1", {}, isolated(model.name)),
    versions(model, target),
    element(
      "p",
      { class: "muted" },
      `${plural(manifest.features.length, "feature")}${mixed}, `,
      `${outputsOf(manifest).size} · `,
      isolated(manifest.training.pipeline.map(className).join(" → ") || "a pipeline"),
      // Several versions answer, but the card describes one.
      target || model.versions.length < 2 ? "" : ` · version ${model.version}`,
    ),
  );
}

/** A choice of the version that answers: as served, one of them, or the version of a label. */
function versions(model, target) {
  const labels = Object.entries(model.labels);
  if (model.versions.length < 2 && labels.length === 0)
    return element("span", { class: "tag" }, `version ${model.version}`);
  const option = (text, choice) =>
    element(
      "option",
      {
        value: address(model.name, choice),
        selected: address(model.name, choice) === address(model.name, target),
      },
      text,
    );
  return element(
    "select",
    { class: "tag", "aria-label": "Version", onchange: (event) => (location.hash = event.target.value) },
    option("as served", null),
    model.versions.map((version) => option(`version ${version}`, { kind: "versions", id: version })),
    labels.map(([label, version]) =>
      option(`${visible(label)} (version ${version})`, { kind: "labels", id: label }),
    ),
  );
}
