// One model on the page, as one of its addresses answers.

import { address, path } from "./address.js";
import { Answer, read } from "./answer.js";
import { called, card } from "./card.js";
import { element, named, visible } from "./element.js";
import { ask, predict } from "./exchange.js";
import { Form } from "./form.js";
import { asJson, plural } from "./numbers.js";
import { body, Snippets } from "./snippets.js";

const TYPING = 90;
const SETTLING = 1_000;

/**
 * The form of a model, its answers and its card. `kept` are values by feature that it starts with;
 * `outdated()` is called once something else is served than the card says.
 */
export class View {
  constructor(model, at, kept, outdated) {
    this.name = model.name;
    this.manifest = model.manifest;
    this.version = String(model.version);
    this.versions = answering(model, at);
    this.manifests = new Map([[this.version, model.manifest]]);
    this.outdated = outdated;
    this.predict = `${path(model.name, at)}/predict`;
    this.golden = model.manifest.golden.rows.map((row) => row.map(asJson).join());
    this.form = new Form(model.manifest, (soon) => this.changed(soon), kept);
    this.answer = new Answer(model.manifest, (feature) => this.form.reveal(feature));
    this.snippets = new Snippets(new URL(this.predict, document.baseURI).href, model.manifest.features);
    this.form.element.append(this.answer.brief);
    this.elements = [
      heading(model, at),
      element("div", { class: "bench" }, this.form.element, this.answer.element, this.snippets.element),
      card(model),
    ];
  }

  /** It is no longer on the page, and asks no more. */
  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  values() {
    return new Map(this.manifest.features.map(({ name }, index) => [name, this.form.cells[index]]));
  }

  changed(soon) {
    this.snippets.show(this.form.cells);
    this.answer.outlive(this.form.fault !== null);
    clearTimeout(this.timer);
    if (soon) this.timer = setTimeout(() => this.ask(), TYPING);
    else this.ask();
  }

  /** One request at a time; the one after it is about what is on screen by then. */
  async ask() {
    this.snippets.show(this.form.cells);
    this.again = this.asking;
    if (this.asking) return;
    this.asking = true;
    do {
      this.again = false;
      await this.exchange([...this.form.cells]);
    } while (this.again && !this.closed);
    this.asking = false;
  }

  async exchange(cells) {
    const answer = await predict(this.predict, body(this.manifest.features, cells));
    if (!answer.ok) return this.refuse(cells, answer.document);
    const version = answer.version ?? this.version;
    const manifest = await this.manifestOf(version);
    const reading = manifest && read(answer.document, manifest);
    if (this.closed) return;
    if (reading) this.show(cells, reading, manifest, { ...answer.times, version });
    else this.refuse(cells, { error: `version ${version} answered, and what it is comes in a moment` });
    if (!reading) this.manifests.delete(version);
    if (!reading || !this.versions.includes(version)) this.renew();
  }

  /** That of the version which answered, as traffic may be split; null where it is not to be had. */
  async manifestOf(version) {
    if (!this.manifests.has(version)) {
      const found = await ask(path(this.name, { kind: "versions", which: version })).catch(() => null);
      this.manifests.set(version, found && found.manifest);
    }
    return this.manifests.get(version);
  }

  /** Once: workers change one after the other. */
  renew() {
    this.renewing ??= setTimeout(() => this.closed || this.outdated(), SETTLING);
  }

  /** Whether these are what is on screen still. */
  holds(cells) {
    return cells.join() === this.form.cells.join();
  }

  show(cells, reading, manifest, times) {
    const golden = manifest === this.manifest ? this.golden.indexOf(cells.join()) : -1;
    this.form.refuse();
    this.answer.show(reading, manifest, times, golden);
    this.answer.stale(!this.holds(cells));
  }

  refuse(cells, { error, feature }) {
    // One that is about an earlier text has no place beside this one.
    if (this.closed || !this.holds(cells)) return;
    this.form.refuse(feature, error);
    this.answer.refuse(error, feature);
  }
}

/** The versions that are to be expected in answers. */
function answering(model, at) {
  return at ? [String(model.version)] : Object.keys(model.traffic);
}

function heading(model, at) {
  const { manifest } = model;
  const kinds = new Set(manifest.features.map(({ kind }) => kind));
  const what = kinds.size === 2 ? ", numbers and categories" : "";
  return element(
    "div",
    { class: "heading" },
    element("h1", {}, named(model.name)),
    versions(model, at),
    element(
      "p",
      { class: "muted" },
      `${plural(manifest.features.length, "feature")}${what}, `,
      `${plural(manifest.class_names.length, "class", "classes")} · `,
      named(manifest.training.pipeline.map(called).join(" → ") || "a pipeline"),
      // Where several answer, the card is that of one.
      at || model.versions.length < 2 ? "" : ` · version ${model.version}`,
    ),
  );
}

/** Which version answers: as served, or one of them, or what a label stands for. */
function versions(model, at) {
  const labels = Object.entries(model.labels);
  if (model.versions.length < 2 && labels.length === 0)
    return element("span", { class: "tag" }, `version ${model.version}`);
  const option = (text, to) =>
    element(
      "option",
      { value: address(model.name, to), selected: address(model.name, to) === address(model.name, at) },
      text,
    );
  return element(
    "select",
    { class: "tag", "aria-label": "Version", onchange: (event) => (location.hash = event.target.value) },
    option("as served", null),
    model.versions.map((version) => option(`version ${version}`, { kind: "versions", which: version })),
    labels.map(([label, version]) =>
      option(`${visible(label)} (version ${version})`, { kind: "labels", which: label }),
    ),
  );
}
