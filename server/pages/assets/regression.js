// The answers of a regressor.

import { element, folded, isolated, scrolling, visible } from "./element.js";
import { first } from "./exchange.js";
import { amount, figure, fixed, plural } from "./numbers.js";
import { residuals } from "./residuals.js";
import { Single, Targets } from "./targets.js";

// A headline that screen readers say, and the brief texts in lists, name no more targets.
const NAMED = 10;
const BRIEF = 3;

/** A number for each target. */
export class Regression {
  constructor(manifest) {
    this.manifest = manifest;
    this.targets = manifest.outputs.targets;
    this.deciles = manifest.outputs.deciles ?? [];
    this.several = this.targets.length > 1;
    this.tensors = [manifest.outputs.scores];
    this.size = plural(this.targets.length, "target");
    this.shape = JSON.stringify([this.targets, this.deciles]);
    this.errors = manifest.training.errors ?? [];
  }

  get measured() {
    return this.errors.length > 0;
  }

  get summary() {
    const { errors } = this;
    return this.measured ? `MAE ${this.named(errors.map(({ mae }) => figure(mae, 3)), BRIEF)}` : this.size;
  }

  get explained() {
    return { noun: "target", standard: "the first target", names: this.targets, figure: "prediction" };
  }

  picture() {
    if (this.several) return new Targets(this.targets, this.deciles, `All ${this.size}`);
    return new Single(this.deciles[0] ?? []);
  }

  read({ prediction }) {
    const numbers = this.several ? this.row(prediction) : [first(prediction)];
    if (numbers.length !== this.targets.length || !numbers.every(Number.isFinite)) return null;
    const texts = numbers.map((number) => amount(number));
    const shared = { numbers, texts, headline: this.named(texts, NAMED) };
    if (this.several) return { ...shared, remark: "", listed: true, brief: [this.named(texts, BRIEF), ""] };
    const [name] = this.targets;
    const remark = name === "prediction" ? "" : name;
    return { ...shared, exact: String(numbers[0]), remark, brief: [name, texts[0]] };
  }

  /** The numbers of all targets, out of a list of rows or a record. */
  row(prediction) {
    const row = first(prediction);
    return Array.isArray(row) ? row : this.targets.map((name) => row?.[name]);
  }

  /** The numbers with the names of their targets, at most so many; the only number without. */
  named(texts, most) {
    if (!this.several) return texts[0];
    const parts = texts.slice(0, most).map((text, index) => `${visible(this.targets[index])} ${text}`);
    return [...parts, ...(texts.length > most ? ["…"] : [])].join(", ");
  }

  golden(row) {
    return this.named(this.manifest.golden.scores[row].map((number) => amount(number)), BRIEF);
  }

  compare({ numbers }, row) {
    const { golden, parity } = this.manifest;
    const expected = golden.scores[row];
    const differences = numbers.map((number, index) => Math.abs(number - expected[index]));
    const equal = differences.every(
      (difference, index) => difference <= parity.tolerance * this.sizeOf(expected[index], index),
    );
    return { equal, difference: Math.max(...differences) };
  }

  /** The size of a target's number, by which a difference from it is measured; see model/sizes.py. */
  sizeOf(number, index) {
    const largest = Math.max(1, Math.abs(number));
    const [center, width] = this.manifest.outputs.spans?.[index] ?? [0, largest];
    return Math.min(largest, Math.max(width, Math.abs(number - center)));
  }

  quality() {
    const { errors } = this;
    if (!errors.length) return null;
    if (!this.several) {
      const [error] = errors;
      return { rows: error.rows, figures: figures(error), tables: [table(error)] };
    }
    const folds = errors.map((error) => folded(`Residuals of ${visible(error.target)}`, table(error)));
    return { rows: errors[0].rows, figures: [], tables: [perTarget(errors), ...folds] };
  }

  /** What truth says of the numbers, beside training: figures and pictures. */
  found({ targets }) {
    const figures = targets
      .filter(({ mae }) => mae)
      .flatMap(({ target, mae, rmse, bias, trained_mae: before, trained_rmse: rooted }) => {
        const name = this.several ? ` of ${visible(target)}` : "";
        const write = alike(mae.value);
        return [
          { name: `mean absolute error${name}`, estimate: mae, write, before: before ?? null },
          { name: `root mean squared error${name}`, estimate: rmse, write, before: rooted ?? null },
          { name: `bias${name}`, estimate: bias, write: (value) => write(value, true) },
        ];
      });
    // A model may have hundreds of targets.
    return { figures: figures.slice(0, 3 * NAMED), pictures: [] };
  }

  difference({ max_difference: difference }) {
    const relative = "relative to max(1, |prediction|), or to less where predictions vary less";
    return `${figure(difference, 2)}, ${relative}`;
  }

  ties() {
    return null;
  }
}

/** [name, text] of each measure; files of an earlier release lack the error of the median. */
function figures({ r2, mae, rmse, baseline }) {
  return [
    ["R²", r2, (value) => value.toFixed(3)],
    ["mean absolute error", mae],
    ["root mean squared error", rmse],
    ["mean absolute error of the median alone", baseline],
  ]
    .filter(([, value]) => typeof value === "number")
    .map(([name, value, written = (number) => amount(number, 4)]) => [name, written(value)]);
}

/** The residuals of a target with the decimals that its error is worth, as `unpickled train` prints them. */
function table(error) {
  const largest = Math.max(...error.residuals.flatMap(({ lowest, highest }) => [lowest, highest].map(Math.abs)));
  return residuals(error, alike(error.mae || error.rmse || error.baseline || 1, largest));
}

/** Writes numbers of one table or interval with the same decimals: those that an error of this size is worth. */
function alike(size, largest = size) {
  const decimals = 3 - Math.floor(Math.log10(size || 1));
  const isFixed = decimals <= 9 && largest < 1e15;
  return (number, signed = false) =>
    isFixed ? fixed(number, Math.max(decimals, 0), signed) : amount(number, 5, signed);
}

function perTarget(errors) {
  const rows = errors.map(({ target, r2, mae, rmse, baseline }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, isolated(target, { title: visible(target) })),
      element("td", {}, typeof r2 === "number" ? r2.toFixed(3) : "–"),
      [mae, rmse, baseline].map((value) =>
        element("td", {}, typeof value === "number" ? amount(value, 4) : "–"),
      ),
    ),
  );
  const heads = ["target", "R²", "MAE", "RMSE", "MAE of the median"].map((head) =>
    element("th", { scope: "col" }, head),
  );
  return scrolling(
    "Per target",
    element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows)),
  );
}
