// How far what a version is asked, and answers, has moved from its training rows.

import { element, folded, isolated, muted, section, sentence, svg, visible } from "./element.js";
import { get } from "./exchange.js";
import { enumerated, percent, plural } from "./numbers.js";
import { WINDOWS, Windows } from "./windows.js";

// Names in a sentence; there are as many pictures as features.
const MOST = 3;
// Sizes in units of a picture, which scales with the page.
const [WIDTH, ROW, NAMES, FIGURES, LETTERS] = [300, 20, 104, 96, 16];

/** The report of one version; hidden until there is one. `url` is GET /models/<name>/drift. */
export class Drift {
  constructor(url, version) {
    this.url = url;
    this.version = Number(version);
    this.report = element("div", { "aria-live": "polite" });
    this.windows = new Windows("Window", (window) => this.show(window));
    this.element = element(
      "div",
      { class: "drift", hidden: true },
      section("Drift", this.windows.element, this.report),
    );
  }

  async show(window = "24h") {
    this.windows.press(window);
    const document = await get(`${this.url}?window=${window}`).catch(() => null);
    // Another window has been chosen meanwhile; or the first request failed, as where drift is switched off.
    if (this.windows.chosen !== window || (document === null && this.element.hidden)) return;
    if (document === null) return this.report.replaceChildren(muted("The server does not answer."));
    const report = document.versions.find(({ version }) => version === this.version);
    this.report.replaceChildren(element("div", {}, drawn(report, document)));
    this.element.hidden = false;
  }
}

function drawn(report, { window, complete, since }) {
  const time = WINDOWS[window];
  const begun = complete ? "" : ` Counted since ${moment(since)}, when the server started.`;
  if (!report) return [muted(`No rows in ${time}.${begun}`)];
  const share = report.sampled < 1 ? ` (${percent(report.sampled)} of those answered)` : "";
  const rows = `${plural(report.rows, "row")}${share} in ${time}`;
  if (report.note) return [muted(`${rows}: ${report.note}.${begun}`), rest(report, parts(report), "The rows so far")];
  const [moved, still] = [true, false].map((drifted) => parts(report).filter((each) => each.drifted === drifted));
  if (!moved.length) return [muted(`${rows}; nothing moved.${begun}`), rest(report, still, "Beside the training rows")];
  return [
    element("p", {}, rows, ": ", names(moved), moved.length > 1 ? " have moved" : " has moved", " since training."),
    begun ? muted(begun.trim()) : "",
    pictures(moved),
    rest(report, still, `${plural(still.length, "other")} that did not move`),
  ];
}

/** The predictions and the features, those that have moved furthest first. */
function parts({ predictions, features }) {
  return [...predictions.map(marked), ...features].sort((a, b) => (b.psi ?? 0) - (a.psi ?? 0));
}

/** A prediction, which has the name of its target in a regressor, apart from the features. */
function marked(prediction) {
  const { name } = prediction;
  return name === "prediction" ? prediction : { ...prediction, name: `prediction: ${name}` };
}

function names(moved) {
  const more = moved.length - MOST;
  const listed = moved.slice(0, more > 0 ? MOST : moved.length).map(({ name }) => visible(name));
  return element("strong", {}, enumerated(more > 0 ? [...listed, `${more} more`] : listed));
}

/** Pictures behind a title to be clicked; they are drawn then, as there may be hundreds. */
function rest({ unmeasured }, still, title) {
  const without = unmeasured.length
    ? muted(`Not measured, as training had too few rows: ${enumerated(unmeasured.map(visible))}`)
    : "";
  if (!still.length) return without;
  const details = folded(title);
  details.addEventListener("toggle", () => details.append(...pictures(still)), { once: true });
  return element("div", { class: "rest" }, details, without);
}

function pictures(list) {
  const swatch = (kind) => element("span", { class: `swatch ${kind}` });
  return [
    element(
      "p",
      { class: "muted shares" },
      ...["Shares of the rows ", swatch("now"), " now (", swatch("moved"), " if they are an alarm) in front of "],
      ...[swatch("trained"), " those of the training rows; in figures: now / training"],
    ),
    element("ul", { class: "drifts" }, list.map(item)),
  ];
}

function item(part) {
  return element(
    "li",
    { class: part.drifted ? "drifted" : null },
    element("h3", {}, isolated(part.name)),
    part.reasons.map((reason) => element("p", { class: "reason" }, sentence(reason))),
    part.drifted ? "" : muted(measures(part)),
    picture(part),
  );
}

function measures({ psi, threshold, missing, outside }) {
  const shares = Object.entries({ missing, outside }).filter(
    ([, share]) => share?.now && (share.now > 0 || share.reference > 0),
  );
  return [
    psi === null ? "" : `PSI ${psi.toFixed(3)}, alarm above ${threshold.toFixed(3)}`,
    ...shares.map(([name, share]) => `${percent(share.now)} ${name} (${percent(share.reference)} in training)`),
  ]
    .filter(Boolean)
    .join(" · ");
}

/** A bar for each cell now, in front of a paler one of training. */
function picture({ name, bins: cells }) {
  const bins = cells.filter(({ reference, now }) => reference > 0 || now > 0);
  const largest = Math.max(...bins.flatMap(({ reference, now }) => [reference, now ?? 0])) || 1;
  const label = `${visible(name)}: shares of the rows now and in training`;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${ROW * bins.length}`, role: "img", "aria-label": label },
    bins.map((cell, place) => bars(cell, place * ROW, (WIDTH - NAMES - FIGURES) / largest)),
  );
}

function bars({ label, reference, now }, top, unit) {
  const [name, share] = [visible(label), now ?? 0];
  const short = name.length > LETTERS + 1 ? `${name.slice(0, LETTERS)}…` : name;
  return svg(
    "g",
    {},
    svg("title", {}, `${name}: now ${percent(share)}, in training ${percent(reference)}`),
    svg("text", { x: NAMES - 6, y: top + 14, "text-anchor": "end" }, short),
    svg("rect", { class: "trained", x: NAMES, y: top + 2.5, width: reference * unit, height: 15 }),
    svg("rect", { class: "now", x: NAMES, y: top + 6, width: share * unit, height: 8 }),
    svg("text", { class: "share", x: WIDTH, y: top + 14, "text-anchor": "end" }, [share, reference].map(tenths).join(" / ")),
  );
}

/** A share with one decimal, of which two fit behind a bar. */
function tenths(share) {
  return `${(100 * share).toFixed(1)}%`;
}

/** A time as ISO 8601 in the reader's words: 14:03, or 29 Nov 14:03. */
function moment(text) {
  const time = new Date(text);
  const today = time.toDateString() === new Date().toDateString();
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  return time.toLocaleString("en-GB", today ? options : { day: "numeric", month: "short", ...options });
}
