// How right a version was, by the truth that clients have reported.

import { element, folded, muted, section, sentence, visible } from "./element.js";
import { get } from "./exchange.js";
import { percent, plural } from "./numbers.js";
import { WINDOWS, Windows } from "./windows.js";

/** The report of one version; hidden until there is one. `url` is that of the model. */
export class Truth {
  constructor(url, version, outputs) {
    this.url = url;
    this.version = Number(version);
    this.outputs = outputs;
    this.report = element("div", { class: "truth", "aria-live": "polite" });
    this.windows = new Windows("Window of truth", (window) => this.show(window));
    this.element = element(
      "div",
      { class: "field", hidden: true },
      section("Accuracy", this.windows.element, this.report),
    );
  }

  async show(window = "24h") {
    this.windows.press(window);
    const document = await get(`${this.url}/accuracy?window=${window}`).catch(() => null);
    // Another window has been chosen meanwhile; or no row waits for its truth here.
    if (this.windows.chosen !== window || document === null) return;
    const report = document.versions.find(({ version }) => version === this.version);
    this.report.replaceChildren(...(report?.figures.rows ? drawn(report, document, this.outputs) : this.calm(report, document)));
    this.element.hidden = false;
  }

  /** What to do while no truth is known. */
  calm(report, { window }) {
    const rows = report ? `${plural(report.predicted, "row")} in ${WINDOWS[window]}` : `No rows in ${WINDOWS[window]}`;
    const address = new URL(`${this.url}/truth`, document.baseURI).href;
    const command = `curl ${address} \\\n  -d '{"id": "…", "truth": …}'`;
    return [
      muted(`${rows}, no truth yet. Report what turned out to be true by the id in the header Prediction-Id:`),
      element("pre", {}, element("code", {}, command)),
    ];
  }
}

function drawn({ predicted, coverage, figures, trained, reasons, notes }, { model, window, truths, note }, outputs) {
  const found = outputs.found(figures, trained);
  const place = outputs.manifest.training.held_out ? "on held-out rows" : "in training";
  const known = `Truth of ${plural(figures.rows, "row")}, ${percent(coverage)} of ${plural(predicted, "row")} predicted in ${WINDOWS[window]}`;
  return [
    muted(known + forgotten(truths, model)),
    element("div", { class: "figures" }, found.figures.map((each) => big(each, place))),
    reasons.map((reason) => element("p", { class: "reason" }, sentence(reason))),
    notes.map((text) => muted(sentence(text))),
    element("div", { class: "beside" }, found.pictures),
    folded("What is counted", muted(visible(note || "The whole window is counted."))),
  ].flat();
}

/** Truths that found no row. */
function forgotten(truths, model) {
  if (!truths) return ".";
  const missed = truths.late + truths.kept;
  // Those in the payload log are joined with it by the command.
  const remedy = truths.kept ? `: unpickled accuracy ${visible(model)} --log looks for them in the payload log` : "";
  return missed ? `; for ${plural(missed, "truth")} no row is remembered${remedy}.` : ".";
}

/** A figure with its interval, that of training, which was measured at this place, and a remark. */
function big({ name, estimate: { value, lowest = null, highest = null }, write, before = null, remark = "" }, place) {
  const range = lowest === null || highest === null ? "" : `${write(lowest)} to ${write(highest)}`;
  const training = before === null ? "" : `${write(before)} ${place}`;
  return element(
    "p",
    { class: "big" },
    element("strong", {}, write(value)),
    " ",
    element("span", { class: "muted" }, name),
    element("small", { class: "muted" }, [range, training, remark].filter(Boolean).join(" · ")),
  );
}
