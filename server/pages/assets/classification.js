// The answers of a classifier.

import { Bars } from "./bars.js";
import { calibrated } from "./calibration.js";
import { confusion } from "./charts.js";
import { element, folded, isolated, scrolling, visible } from "./element.js";
import { first } from "./exchange.js";
import { figure, fixed, percent, plural } from "./numbers.js";

// Longer tables are folded.
const ROWS = 15;

/** A name out of those of the classes, and a probability or decision score for each of them. */
export class Classification {
  constructor(manifest) {
    this.manifest = manifest;
    // The numbers of an answer are of this kind, and have these names.
    this.kind = manifest.outputs.kind;
    this.names = manifest.class_names;
    this.tensors = [manifest.outputs.label, manifest.outputs.scores];
    this.size = plural(this.names.length, "class", "classes");
    this.shape = JSON.stringify([this.kind, this.names]);
  }

  get measured() {
    return Boolean(this.manifest.training.metrics);
  }

  get summary() {
    const { metrics } = this.manifest.training;
    return metrics ? percent(metrics.accuracy) : this.size;
  }

  get explained() {
    const figure = this.kind === "probabilities" ? "probability" : "score";
    return { noun: "class", standard: "the predicted class", names: this.names, figure };
  }

  picture() {
    const every = `All ${this.names.length} classes`;
    const limit = this.kind === "probabilities" ? 1 : null;
    return new Bars({ names: this.names, kind: this.kind, limit, every });
  }

  read(document) {
    const members = [document[this.kind], document.predicted_class, document.prediction];
    const [row, headline, label] = members.map(first);
    const numbers = Array.isArray(row) ? row : this.names.map((name) => row?.[name]);
    const best = this.names.indexOf(headline);
    const fits = numbers.length === this.names.length && numbers.every(Number.isFinite) && best >= 0;
    if (!fits) return null;
    const texts = numbers.map(this.kind === "probabilities" ? percent : (number) => figure(number));
    const remark = String(label) === headline ? "" : `label ${label}`;
    return { headline, remark, brief: [headline, texts[best]], numbers, texts, best };
  }

  golden(row) {
    const { classes, golden } = this.manifest;
    return this.names[classes.indexOf(golden.labels[row])];
  }

  compare({ headline, numbers }, row) {
    const { golden, parity } = this.manifest;
    const expected = golden.scores[row];
    const difference = Math.max(...numbers.map((number, index) => Math.abs(number - expected[index])));
    const allowed = parity.tolerance * Math.max(1, ...expected.map(Math.abs));
    return { equal: headline === this.golden(row) && difference <= allowed, difference };
  }

  quality() {
    const { metrics } = this.manifest.training;
    if (!metrics) return null;
    const { accuracy, log_loss: loss, classes, confusion: matrix } = metrics;
    const figures = [["accuracy", percent(accuracy)]];
    if (loss !== null) figures.push(["log loss", figure(loss)]);
    const tables = classes.length ? [perClass(classes)] : [];
    const names = classes.map(({ name }) => name);
    if (matrix.length) tables.push(confusion(names, matrix));
    return { rows: classes.reduce((total, { support }) => total + support, 0), figures, tables };
  }

  /** What truth says of the answers, beside training: figures and pictures. */
  found({ accuracy, log_loss: loss, calibration, confusion: matrix, classes }, trained) {
    const figures = [{ name: "accuracy", estimate: accuracy, write: percent, before: trained?.accuracy ?? null }];
    // An interval shows its zeros; what they would hide keeps its digits.
    const write = (value) => (value !== 0 && value < 0.001 ? figure(value, 2) : fixed(value, 3));
    if (loss) figures.push({ name: "log loss", estimate: loss, write, before: trained?.log_loss ?? null });
    if (calibration) {
      const remark = `by chance up to ${write(calibration.by_chance)}`;
      figures.push({ name: "calibration error", estimate: { value: calibration.error }, write, remark });
    }
    const pictures = calibration ? [calibrated(calibration)] : [];
    const names = classes.map(({ name }) => name);
    // Truths that are no class of the model stand behind the others.
    if (matrix) pictures.push(confusion(names, matrix.slice(0, names.length)));
    return { figures, pictures };
  }

  difference({ max_difference: difference }) {
    return `${figure(difference, 2)}${this.kind === "scores" ? ", relative to max(1, |score|)" : ""}`;
  }

  /** How often the parity gate let another headline pass, and why. */
  ties({ ties, tie_gap: gap }) {
    return `${ties.toLocaleString("en")} (top two closer than ${figure(gap)})`;
  }
}

function perClass(classes) {
  const rows = classes.map(({ name, precision, recall, f1, support }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, isolated(name, { title: visible(name) })),
      [precision, recall, f1].map((value) => element("td", {}, value.toFixed(3))),
      element("td", {}, support.toLocaleString("en")),
    ),
  );
  const heads = ["class", "precision", "recall", "F1", "rows"].map((head) =>
    element("th", { scope: "col" }, head),
  );
  const table = scrolling(
    "Per class",
    element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows)),
  );
  return rows.length <= ROWS ? table : folded(`Per class (${rows.length})`, table);
}
