// The page: which model, its form, its answers, its card.

import { Answer } from "./answer.js";
import { called, card } from "./card.js";
import { element, named, visible } from "./element.js";
import { Form } from "./form.js";
import { asJson, percent, plural } from "./numbers.js";
import { body, Snippets } from "./snippets.js";

const TYPING = 90;
const PATIENCE = 20_000;
const SETTLING = 1_000;
const main = document.getElementById("model");
const list = document.getElementById("models");
let models = [];
let view = null;

/** What is in the address: #/name, #/name/versions/2 or #/name/labels/canary. */
function chosen() {
  const [, name, kind, which] = location.hash.split("/").map(decoded);
  const model = models.find((one) => one.name === name) ?? models.find((one) => one.ready) ?? models[0];
  const known = model?.name === name && ["versions", "labels"].includes(kind) && which;
  return { model, at: known ? { kind, which } : null };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function path(name, at) {
  const end = at ? `/${at.kind}/${encodeURIComponent(at.which)}` : "";
  return `models/${encodeURIComponent(name)}${end}`;
}

function address(name, at) {
  return `#/${path(name, at).slice("models/".length)}`;
}

async function ask(where) {
  const answer = await fetch(where, {
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(PATIENCE),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error);
  return document;
}

async function load() {
  const found = await asked("models");
  if (!found) return;
  ({ models } = found);
  await show();
}

/** What the server says; where it does not, that is on the page in place of a model. */
async function asked(where) {
  try {
    return await ask(where);
  } catch (error) {
    view = null;
    main.replaceChildren(
      notice(visible(error.message), element("button", { type: "button", onclick: load }, "Try again")),
    );
    return null;
  }
}

async function show() {
  const { model, at } = chosen();
  drawList(model);
  if (!model) {
    main.replaceChildren(
      notice("There is no model yet. Export one, and it appears here: python -m export train iris"),
    );
  } else if (!model.ready) {
    main.replaceChildren(element("h1", {}, named(model.name)), notice(visible(model.reason)));
  } else {
    const found = at ? await asked(path(model.name, at)) : model;
    // By now another may have been asked for.
    if (!found || chosen().model !== model) return;
    const kept = view?.name === model.name ? view.values() : new Map();
    view = new View(found, at, kept);
    main.replaceChildren(...view.elements);
    view.ask();
  }
  document.title = model ? `${visible(model.name)} · Unpickled` : "Unpickled";
}

function notice(...children) {
  return element(
    "div",
    { class: "notice" },
    ...children.map((child) => (typeof child === "string" ? element("p", {}, child) : child)),
  );
}

function drawList(current) {
  const entries = models.map((model) =>
    element(
      "li",
      {},
      element(
        "a",
        { href: address(model.name), "aria-current": model === current ? "page" : null },
        named(model.name, { class: "name" }),
        element("span", { class: model.ready ? "muted" : "bad" }, model.ready ? summary(model) : "refused"),
      ),
    ),
  );
  list.replaceChildren(element("h2", {}, plural(models.length, "model")), element("ul", {}, entries));
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function summary({ manifest }) {
  const accuracy = manifest.training.metrics?.accuracy;
  return accuracy === undefined ? plural(manifest.class_names.length, "class", "classes") : percent(accuracy);
}

/** One model on the page, as one of its addresses answers. */
class View {
  constructor(model, at, kept) {
    this.name = model.name;
    this.model = model;
    this.manifest = model.manifest;
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

  values() {
    return new Map(this.manifest.features.map(({ name }, index) => [name, this.form.cells[index]]));
  }

  changed(soon) {
    this.snippets.show(this.form.cells);
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
    } while (this.again && view === this);
    this.asking = false;
  }

  async exchange(cells) {
    const headers = { "Content-Type": "application/json", "Server-Timing": "1" };
    const request = {
      method: "POST",
      headers,
      body: body(this.manifest.features, cells),
      signal: AbortSignal.timeout(PATIENCE),
    };
    try {
      const started = performance.now();
      const response = await fetch(this.predict, request);
      const text = await response.text();
      const trip = performance.now() - started;
      if (view !== this) return;
      const document = JSON.parse(text);
      if (response.ok)
        this.show(cells, document, {
          trip,
          server: spans(response),
          version: response.headers.get("Model-Version"),
        });
      else this.refuse(document);
    } catch (error) {
      if (view === this) this.refuse({ error: `no answer came: ${error.message}` });
    }
  }

  show(cells, document, times) {
    this.form.refuse();
    this.answer.show(document, times, this.golden.indexOf(cells.join()));
    // Something else is served since, so its card is another; asked once, as workers change one by one.
    if (!this.model.versions.map(String).includes(times.version) && !this.outdated) {
      this.outdated = setTimeout(load, SETTLING);
    }
  }

  refuse({ error, feature }) {
    this.form.refuse(feature, error);
    this.answer.refuse(error, feature);
  }
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

/** Server-Timing as {name: milliseconds}. */
function spans(response) {
  const parts = (response.headers.get("Server-Timing") ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g);
  return Object.fromEntries([...parts].map(([, name, time]) => [name, Number(time)]));
}

addEventListener("hashchange", () => {
  // The link that skips to the model is none of a model.
  if (location.hash !== "#model") show();
});
load();
