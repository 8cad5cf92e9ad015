// The model's answer: its headline, its picture, and the time it took.

import { element, isolated, visible } from "./element.js";
import { duration, figure, plural } from "./numbers.js";

// Features outside the training range that are named.
const MOST = 3;

export class Answer {
  constructor(outputs, reveal) {
    this.reveal = reveal;
    this.winner = element("output", { class: "winner", "aria-live": "polite" });
    this.remark = element("span", { class: "muted" });
    this.headline = element("p", { class: "headline" }, this.winner, this.remark);
    this.frame = element("div");
    this.proof = element("p", { class: "proof" });
    this.timing = element("p", { class: "timing muted" });
    this.trouble = element("p", { class: "trouble", role: "status" });
    this.result = element("div", { class: "result" }, this.headline, this.frame, this.proof);
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
    this.describe(outputs);
  }

  /** Make room for the answers of this version; the picture stays where its own has the same shape. */
  describe(outputs) {
    const unchanged = this.outputs?.shape === outputs.shape;
    this.outputs = outputs;
    if (unchanged) return;
    this.picture = outputs.picture();
    this.frame.replaceChildren(this.picture.element);
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

  /**
   * Show an answer that these outputs have read. `golden` is the index of its golden row, or -1; `outside`
   * are the values outside the training range.
   */
  show(answer, outputs, times, golden, outside) {
    this.describe(outputs);
    this.trouble.replaceChildren();
    this.draw(answer);
    this.compare(answer, golden);
    this.warn(outside);
    this.drawTimes(times);
  }

  draw(answer) {
    const { headline, exact, remark, listed, brief } = answer;
    if (this.winner.dataset.name !== headline) {
      this.winner.dataset.name = headline;
      this.winner.replaceChildren(isolated(headline));
    }
    this.winner.title = exact ?? "";
    this.remark.replaceChildren(remark ? isolated(remark) : "");
    // Screen readers say what the picture lists.
    this.headline.classList.toggle("unseen", Boolean(listed));
    const [name, value] = brief;
    this.brief.replaceChildren(isolated(name), element("span", {}, value));
    this.picture.show(answer);
  }

  /** Compare the answer to a golden row with the pipeline's. */
  compare(answer, golden) {
    this.proof.replaceChildren();
    if (golden < 0) return;
    const { equal, difference } = this.outputs.compare(answer, golden);
    this.proof.classList.toggle("wrong", !equal);
    this.proof.append(
      equal ? "✓ " : "✗ ",
      "The scikit-learn pipeline answered ",
      isolated(this.outputs.golden(golden)),
      difference === 0
        ? ", identical to the last digit."
        : `; the largest difference is ${figure(difference, 2)}.`,
    );
  }

  /** Name what is outside the training range, as no golden row is, in the place of the comparison. */
  warn(outside) {
    this.proof.classList.toggle("outside", outside.length > 0);
    if (outside.length) this.proof.replaceChildren(...warning(outside));
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

/** A sentence that names the features with values outside the training range, the first of them. */
function warning(outside) {
  const named = outside.slice(0, MOST).flatMap(({ feature, used }, index) => [
    index ? ", " : "",
    isolated(feature),
    used === undefined ? "" : ` (answered for ${typeof used === "number" ? figure(used) : visible(used)})`,
  ]);
  const rest = outside.length - MOST;
  const kind = outside.some(({ range }) => range !== undefined) ? "allowed" : "training";
  return [`Outside the ${kind} range: `, ...named, rest > 0 ? ` and ${plural(rest, "more", "more")}` : ""];
}
