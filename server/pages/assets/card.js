// The model card: quality, training, parity, placement, service, file.

import { path } from "./address.js";
import { curve } from "./charts.js";
import { element, folded, isolated, section, visible } from "./element.js";
import { duration, enumerated, figure, percent, plural, size } from "./numbers.js";
import { GIVEN, outputsOf } from "./outputs.js";

// Longer steps are folded.
const CHARACTERS = 80;

/** The sections of a card, from the document of GET /models/<name>. */
export function card(model) {
  const { training } = model.manifest;
  const outputs = outputsOf(model.manifest);
  return element(
    "div",
    { class: "card" },
    quality(model, outputs),
    element(
      "div",
      { class: "columns" },
      fitting(training),
      parity(model.manifest, outputs),
      placement(model.providers),
      service(model),
      file(model, outputs),
    ),
  );
}

/** [name, value] pairs; those without a value are left out. */
function facts(...pairs) {
  const filled = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "dl",
    {},
    filled.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

function quality(model, outputs) {
  const { held_out: heldOut } = model.manifest.training;
  const measured = outputs.quality();
  if (!measured)
    return section(
      "Quality",
      element("p", { class: "muted" }, "No metrics were measured at the export."),
      report(model),
    );
  const { rows, figures, tables } = measured;
  return section(
    "Quality",
    element(
      "p",
      { class: "muted" },
      `Measured on ${plural(rows, "row")} ${heldOut ? "held out from training" : GIVEN}`,
    ),
    figures.length
      ? element(
          "div",
          { class: "figures" },
          figures.map(([name, value]) => big(value, name)),
        )
      : "",
    element("div", { class: "beside" }, tables),
    report(model),
  );
}

/** A link to the page that has all figures of the version, and its pictures. */
function report({ name, version }) {
  const href = `${path(name, { kind: "versions", id: version })}/report`;
  return element("p", {}, element("a", { href }, `Report of version ${version}`));
}

function big(value, name) {
  return element(
    "p",
    { class: "big" },
    element("strong", {}, value),
    " ",
    element("span", { class: "muted" }, name),
  );
}

function fitting(training) {
  const versions = Object.entries(training.versions ?? {})
    .map(([name, version]) => visible(`${name} ${version}`))
    .join(", ");
  const steps = element(
    "ol",
    { class: "steps" },
    training.pipeline.map((step) => element("li", {}, folding(step))),
  );
  return section(
    "Training",
    training.pipeline.length ? steps : "",
    facts(
      ["data", text(training.data)],
      ["target", text(training.target)],
      ["rows", count(training.rows)],
      ["held out", count(training.held_out)],
      ["seed", training.seed],
      ["fingerprint", hash(training.fingerprint)],
      ["libraries", versions],
    ),
    training.holds_rows
      ? element("p", { class: "caution" }, "The graph contains rows of the training table.")
      : "",
    training.curve?.loss.length ? curve(training.curve) : "",
  );
}

/** A step of the pipeline; a long one is folded. */
function folding(step) {
  const text = isolated(step);
  return step.length <= CHARACTERS ? text : folded(`${visible(className(step))}(…)`, text);
}

/** "StandardScaler" of "StandardScaler(with_mean=False)". */
export function className(step) {
  return step.split("(", 1)[0];
}

function text(value) {
  return value === null || value === undefined ? null : isolated(value);
}

function count(value) {
  return value?.toLocaleString("en");
}

function hash(value) {
  return value ? element("code", { class: "hash", title: visible(value) }, visible(value)) : null;
}

function parity({ parity: report, golden }, outputs) {
  const rows = Object.entries(report.rows);
  const total = rows.reduce((sum, [, number]) => sum + number, 0);
  return section(
    "Parity with the pipeline",
    element(
      "p",
      {},
      `Before the file was written, the graph answered ${plural(total, "row")} as the pipeline does.`,
    ),
    facts(
      ["largest difference", outputs.difference(report)],
      ["tolerance", figure(report.tolerance)],
      ["ties", outputs.ties(report)],
      ["golden rows", `${golden.rows.length}, checked again at each load`],
    ),
    folded(
      "Rows by kind",
      element(
        "table",
        {},
        element(
          "tbody",
          {},
          rows.map(([kind, number]) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, visible(kind).replaceAll("_", " ")),
              element("td", {}, count(number)),
            ),
          ),
        ),
      ),
    ),
  );
}

function placement({ requested, obtained, nodes, graph, notes }) {
  return section(
    "Where it runs",
    facts(["requested", requested.map(visible).join(", ")], ["obtained", obtained.map(visible).join(", ")]),
    notes.map((note) => element("p", { class: "caution" }, visible(note))),
    Object.entries(nodes).map(([provider, number]) =>
      folded(`${visible(provider)}: ${plural(number, "node")}`, nodeList(graph?.[provider] ?? [], number)),
    ),
  );
}

function nodeList(names, number) {
  const rest = number - names.length;
  return element(
    "div",
    {},
    element(
      "ol",
      { class: "nodes" },
      names.map((name) => element("li", {}, operator(name))),
    ),
    rest > 0 ? element("p", { class: "muted" }, `and ${plural(rest, "more", "more")}`) : "",
  );
}

function operator(name) {
  const [kind, ...rest] = name.split(" ");
  return [
    isolated(kind, { class: "operator" }),
    " ",
    rest.length ? isolated(rest.join(" "), { class: "muted" }) : "",
  ];
}

function service(model) {
  const labels = Object.entries(model.labels)
    .map(([label, version]) => `${visible(label)} → ${version}`)
    .join(", ");
  const shares = Object.entries(model.traffic)
    .map(([version, share]) => `version ${version}: ${percent(share)}`)
    .join(", ");
  const shadow =
    model.shadow && `version ${model.shadow.version}, ${percent(model.shadow.share)} of requests`;
  const refused = Object.entries(model.refused).map(([version, reason]) =>
    element("p", { class: "caution" }, `Version ${version} is refused: ${visible(reason)}`),
  );
  return section(
    "In service",
    facts(
      [model.versions.length === 1 ? "version" : "versions", enumerated(model.versions)],
      ["labels", labels],
      ["traffic", shares],
      ["shadow", shadow],
    ),
    model.mistake ? element("p", { class: "caution" }, visible(model.mistake)) : "",
    refused,
  );
}

function file(model, outputs) {
  const { created, name, inputs } = model.manifest;
  const tensors = inputs
    .map((input) => `${visible(input.name)}: ${input.dtype} [rows, ${input.features.length}]`)
    .join(", ");
  return section(
    "File",
    facts(
      ["exported as", isolated(name)],
      ["created", when(created)],
      ["size", size(model.size_bytes)],
      ["load time", duration(1000 * model.load_seconds)],
      ["inputs", tensors],
      ["outputs", outputs.tensors.map(visible).join(", ")],
      ["sha256", hash(model.sha256)],
    ),
  );
}

function when(created) {
  const time = new Date(created);
  return Number.isNaN(time.getTime())
    ? visible(created)
    : element("time", { datetime: visible(created) }, time.toLocaleString());
}
