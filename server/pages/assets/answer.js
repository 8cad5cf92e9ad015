// The model's answer: its headline, a bar for each entry, and the time it took.

import { element, isolated, visible } from "./element.js";
import { duration, figure } from "./numbers.js";

// With more entries than MANY, only the FIRST by number are shown at first.
const MANY = 12;
const FIRST = 10;

export class Answer {
  constructor(outputs, reveal) {
    this.reveal = reveal;
    this.winner = element("output", { class: "winner", "aria-live": "polite" });
    this.remark = element("span", { class: "muted" });
    this.bars = element("ol", { class: "bars" });
    this.more = element("button", { type: "button", class: "quiet", onclick: () => this.toggle() });
    this.proof = element("p", { class: "proof" });
    this.timing = element("p", { class: "timing muted" });
    this.trouble = element("p", { class: "trouble", role: "status" });
    this.result = element(
      "div",
      { class: "result" },
      element("p", { class: "headline" }, this.winner, this.remark),
      this.bars,
      this.more,
      this.proof,
    );
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

  /** Show the entries of this version; the bars stay where it has the same ones. */
  describe(outputs) {
    const unchanged = this.outputs && same(this.outputs.entries, outputs.entries);
    this.outputs = outputs;
    this.bars.setAttribute("aria-label", outputs.kind);
    if (unchanged) return;
    this.rows = outputs.entries.map((name) => bar(name));
    this.all = this.rows.length <= MANY;
    this.more.hidden = this.all;
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

  toggle() {
    this.all = !this.all;
    this.draw();
  }

  /** Show an answer that these outputs have read; `golden` is the index of its golden row, or -1. */
  show(answer, outputs, times, golden) {
    this.describe(outputs);
    this.answer = answer;
    this.remark.textContent = visible(answer.remark);
    this.trouble.replaceChildren();
    this.draw();
    this.compare(golden);
    this.drawTimes(times);
  }

  draw() {
    if (!this.answer) return;
    const { headline, value, numbers } = this.answer;
    if (this.winner.dataset.name !== headline) {
      this.winner.dataset.name = headline;
      this.winner.replaceChildren(isolated(headline));
    }
    this.brief.replaceChildren(isolated(headline), element("span", {}, value));
    this.drawBars();
    const order = numbers.map((_, index) => index);
    const listed = this.all ? order : order.sort((a, b) => numbers[b] - numbers[a]).slice(0, FIRST);
    this.arrange(listed.map((index) => this.rows[index].element));
    this.more.textContent = this.all ? `Only the top ${FIRST}` : this.outputs.every;
  }

  drawBars() {
    const { numbers, best } = this.answer;
    const longest = this.outputs.limit || Math.max(...numbers.map(Math.abs)) || 1;
    const sides = numbers.some((number) => number < 0);
    this.bars.classList.toggle("sides", sides);
    numbers.forEach((number, index) => {
      const text = this.outputs.written(number);
      this.rows[index].show(number, { text, longest, sides, best: index === best });
    });
  }

  arrange(rows) {
    if (!same(rows, [...this.bars.children])) this.bars.replaceChildren(...rows);
  }

  /** Compare the answer to a golden row with the pipeline's. */
  compare(golden) {
    this.proof.replaceChildren();
    if (golden < 0) return;
    const { equal, difference } = this.outputs.compare(this.answer, golden);
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

function same(left, right) {
  return left.length === right.length && left.every((value, index) => value === right[index]);
}

function bar(name) {
  const fill = element("span", { class: "fill" });
  const value = element("span", { class: "value" });
  const row = element(
    "li",
    {},
    isolated(name, { class: "class", title: visible(name) }),
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    value,
  );
  const show = (number, { text, longest, sides, best }) => {
    const share = Math.min(Math.abs(number) / longest, 1);
    const width = sides ? share / 2 : share;
    fill.style.setProperty("width", `${100 * width}%`);
    fill.style.setProperty("margin-left", `${sides ? 100 * (number < 0 ? 0.5 - width : 0.5) : 0}%`);
    row.classList.toggle("best", best);
    value.textContent = text;
    value.title = String(number);
  };
  return { element: row, show };
}
