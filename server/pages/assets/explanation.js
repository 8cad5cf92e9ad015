// The explanation of an answer: how much each feature adds to it. The server is asked once it is unfolded.

import { path } from "./address.js";
import { element, isolated, muted, sentence, visible } from "./element.js";
import { post } from "./exchange.js";
import { amount, figure, plural } from "./numbers.js";

// Features with a bar of their own; the others have one together.
const MOST = 10;
// Longer lists of answers are not offered.
const CHOICES = 100;

/** The explanation of the answers of one model. */
export class Explanation {
  constructor(name) {
    this.name = name;
    const ask = () => this.ask();
    this.choice = element("select", { onchange: ask });
    this.caption = element("p", { class: "muted", "aria-live": "polite" });
    this.picture = element("div");
    this.element = element(
      "details",
      { class: "explained", ontoggle: ask },
      element("summary", {}, "Explain"),
      this.choice,
      this.caption,
      this.picture,
    );
  }

  /** The answer to this body, by this version, is the one to explain from now on. */
  show(body, version, outputs) {
    this.asked = { body, version };
    if (this.outputs?.shape !== outputs.shape) this.describe(outputs);
    this.ask();
  }

  /** Offer the answers that can be explained: each class or target, and the one that was predicted. */
  describe(outputs) {
    const { noun, standard, names } = outputs.explained;
    const option = (text, value) => element("option", { value }, text);
    this.outputs = outputs;
    this.choice.hidden = names.length < 2 || names.length > CHOICES;
    this.choice.setAttribute("aria-label", `The ${noun} to explain`);
    this.choice.replaceChildren(
      option(standard, ""),
      ...(this.choice.hidden ? [] : names.map((name, index) => option(visible(name), index))),
    );
  }

  /** Ask the server, one request at a time: after a response, the next request is about what stands then. */
  async ask() {
    if (!this.element.open || !this.asked) return;
    this.again = this.busy;
    if (this.busy) return;
    this.busy = true;
    try {
      do {
        this.again = false;
        await this.exchange(this.asked);
      } while (this.again);
    } finally {
      this.busy = false;
    }
  }

  async exchange({ body, version }) {
    const { noun, names } = this.outputs.explained;
    const name = names[this.choice.value || -1];
    const query = name === undefined ? "" : `?${noun}=${encodeURIComponent(name)}`;
    const url = `${path(this.name, { kind: "versions", id: version })}/explain${query}`;
    const response = await post(url, body);
    this.caption.classList.toggle("bad", !response.ok);
    if (response.ok) this.draw(response.document);
    else this.refuse(response.document);
  }

  draw({ explained, answer, baseline_answer: typical, features, orders, note }) {
    this.caption.replaceChildren(
      `The ${this.outputs.explained.figure} of `,
      isolated(explained),
      ` is ${figure(answer)}, and ${figure(typical)} for a typical row. Each feature adds to that:`,
    );
    this.picture.replaceChildren(shares(features), muted(sentence(note)), orders ? error(features) : "");
  }

  refuse({ error: reason }) {
    this.caption.replaceChildren(visible(reason));
    this.picture.replaceChildren();
  }
}

/** A bar for each of the features that add or take most, and one for the others. */
function shares(features) {
  const size = ({ contribution }) => Math.abs(contribution);
  const ordered = [...features].sort((one, other) => size(other) - size(one));
  const count = ordered.length > MOST + 1 ? MOST : ordered.length;
  const shown = ordered.slice(0, count).map((feature) => ({
    name: isolated(feature.name),
    value: [" ", element("span", { class: "muted" }, `= ${written(feature.value)}`)],
    title: `${visible(feature.name)} = ${written(feature.value)}, typical is ${written(feature.baseline)}`,
    contribution: feature.contribution,
  }));
  const rest = ordered.slice(count);
  if (rest.length) {
    const contribution = rest.reduce((sum, feature) => sum + feature.contribution, 0);
    shown.push({ name: plural(rest.length, "other"), value: "", title: "", contribution });
  }
  const longest = Math.max(...shown.map(size)) || 1;
  const label = "What each feature adds";
  return element("ol", { class: "bars sides contributions", "aria-label": label }, shown.map((each) => bar(each, longest)));
}

function bar({ name, value, title, contribution }, longest) {
  const fill = element("span", { class: "fill" });
  const width = Math.abs(contribution) / longest / 2;
  fill.style.setProperty("width", `${100 * width}%`);
  fill.style.setProperty("margin-left", `${100 * (contribution < 0 ? 0.5 - width : 0.5)}%`);
  return element(
    "li",
    { class: contribution < 0 ? "down" : "up" },
    element("span", { class: "class", title }, name, value),
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    element("span", { class: "value", title: String(contribution) }, amount(contribution, 3, true)),
  );
}

/** A value of a row, to be read. */
function written(value) {
  if (value === null) return "missing";
  return typeof value === "number" ? figure(value) : visible(value);
}

/** How far the bars may be off. */
function error(features) {
  const largest = Math.max(...features.map((feature) => feature.error));
  return muted(`Standard error: up to ${figure(largest, 2)}.`);
}
