// All that the page knows of what a model answers with. A model of another kind is another class here, with
// the same members, and one line in outputsOf().

import { confusion } from "./charts.js";
import { element, folded, isolated, scrolling, visible } from "./element.js";
import { figure, percent, plural } from "./numbers.js";

// Longer tables are folded.
const ROWS = 15;

/** The answers of a model with this manifest. */
export function outputsOf(manifest) {
  return new Classification(manifest);
}

/** A name out of those of the classes, and a probability or decision score for each of them. */
class Classification {
  constructor(manifest) {
    this.manifest = manifest;
    // What the numbers of an answer are, and the name of each.
    this.kind = manifest.outputs.kind;
    this.entries = manifest.class_names;
    // The largest number that an entry can have, where there is one.
    this.limit = this.kind === "probabilities" ? 1 : null;
    // The names of the graph's outputs.
    this.tensors = [manifest.outputs.label, manifest.outputs.scores];
    this.size = plural(this.entries.length, "class", "classes");
    // On the button that shows all entries where only the first are listed.
    this.every = `All ${this.entries.length} classes`;
  }

  /** What the list of models says beside the name. */
  get summary() {
    const { metrics } = this.manifest.training;
    return metrics ? percent(metrics.accuracy) : this.size;
  }

  /**
   * The answer to one row in a document of /predict; null where it is not about these classes. The headline
   * is the entry at `best`, `value` its number as people read it, `remark` what the headline does not say,
   * and `numbers` are those of all entries.
   */
  read(document) {
    const members = [document[this.kind], document.predicted_class, document.prediction];
    const [row, headline, label] = members.map(first);
    const numbers = Array.isArray(row) ? row : this.entries.map((name) => row?.[name]);
    const best = this.entries.indexOf(headline);
    const fits = numbers.length === this.entries.length && numbers.every(Number.isFinite) && best >= 0;
    const remark = String(label) === headline ? "" : `label ${label}`;
    return fits ? { headline, remark, value: this.written(numbers[best]), numbers, best } : null;
  }

  /** A number of an entry as people read it. */
  written(number) {
    return this.kind === "probabilities" ? percent(number) : figure(number);
  }

  /** The headline of the pipeline's answer to a golden row. */
  golden(row) {
    const { classes, golden } = this.manifest;
    return this.entries[classes.indexOf(golden.labels[row])];
  }

  /** Whether an answer equals the pipeline's to a golden row, and the largest difference of their numbers. */
  compare({ headline, numbers }, row) {
    const { golden, parity } = this.manifest;
    const expected = golden.scores[row];
    const difference = Math.max(...numbers.map((number, index) => Math.abs(number - expected[index])));
    const allowed = parity.tolerance * Math.max(1, ...expected.map(Math.abs));
    return { equal: headline === this.golden(row) && difference <= allowed, difference };
  }

  /** How many rows the metrics were measured on, [name, value] of the main ones, and all others in tables. */
  quality({ accuracy, log_loss: loss, classes, confusion: matrix }) {
    const figures = [["accuracy", percent(accuracy)]];
    if (loss !== null) figures.push(["log loss", figure(loss)]);
    const tables = classes.length ? [perClass(classes)] : [];
    const names = classes.map(({ name }) => name);
    if (matrix.length) tables.push(confusion(names, matrix));
    return { rows: classes.reduce((total, { support }) => total + support, 0), figures, tables };
  }

  /** How often the parity gate let another headline pass, and why. */
  ties({ ties, tie_gap: gap }) {
    return `${ties.toLocaleString("en")} (top two closer than ${figure(gap)})`;
  }
}

/** An array of features is answered by an array of one element, a record by the element itself. */
function first(value) {
  return Array.isArray(value) ? value[0] : value;
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
