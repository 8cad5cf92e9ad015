// The page: the list of models, and the model that the address names.

import { address, fromHash, path } from "./address.js";
import { element, isolated, visible } from "./element.js";
import { get } from "./exchange.js";
import { plural } from "./numbers.js";
import { GIVEN, outputsOf } from "./outputs.js";
import { View } from "./view.js";

const main = document.getElementById("model");
const list = document.getElementById("models");
let models = null;
let standard = null;
let view = null;
const LEGEND = `* measured on rows ${GIVEN}`;
// Counts changes of address, so that a response to an earlier one is dropped.
let turn = 0;

async function load() {
  const catalog = await fetched("models", ++turn);
  if (!catalog) return;
  ({ models, default_model: standard } = catalog);
  await show();
}

/** The document at a URL; null where there is none, and the page shows the error in place of a model. */
async function fetched(url, own) {
  try {
    return await get(url);
  } catch (error) {
    if (own === turn) put(null, notice(visible(error.message), retry()));
    return null;
  }
}

async function show() {
  if (models === null) return;
  const own = ++turn;
  const { name, target } = fromHash(location.hash);
  const model = name === undefined ? first() : models.find((candidate) => candidate.name === name);
  drawList(model);
  document.title = model ? `${visible(model.name)} · Unpickled` : "Unpickled";
  if (!model) {
    put(null, ...missing(name));
  } else if (!model.ready) {
    put(null, element("h1", {}, isolated(model.name)), notice(visible(model.reason)));
  } else {
    const card = target ? await fetched(path(model.name, target), own) : model;
    if (card && own === turn) open(card, target);
  }
}

/** The default model; if it is not served the first that is, or the first of all. */
function first() {
  const served = models.filter(({ ready }) => ready);
  return served.find(({ name }) => name === standard) ?? served[0] ?? models[0];
}

function missing(name) {
  if (name === undefined)
    return [notice("There is no model yet. Export one and it appears here: unpickled train iris")];
  const sentence = "There is no model of this name on this server.";
  return [element("h1", {}, isolated(name)), notice(sentence, retry())];
}

function open(model, target) {
  const values = view?.name === model.name ? view.values() : new Map();
  const opened = new View(model, target, values, load);
  put(opened, ...opened.elements);
  opened.request();
}

/** Replace the content of the page. */
function put(next, ...elements) {
  view?.close();
  view = next;
  main.replaceChildren(...elements);
}

function notice(...children) {
  return element(
    "div",
    { class: "notice" },
    ...children.map((child) => (typeof child === "string" ? element("p", {}, child) : child)),
  );
}

function retry() {
  return element("button", { type: "button", onclick: load }, "Try again");
}

function drawList(current) {
  const entries = models.map((model) =>
    element(
      "li",
      {},
      element(
        "a",
        { href: address(model.name), "aria-current": model === current ? "page" : null },
        isolated(model.name, { class: "name" }),
        models.length > 1 && model.name === standard ? element("span", { class: "default" }, "default") : "",
        summary(model),
      ),
    ),
  );
  list.replaceChildren(
    element("h2", {}, plural(models.length, "model")),
    element("ul", {}, entries),
    models.some(isFlattered) ? element("p", { class: "muted legend" }, LEGEND) : "",
  );
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function summary(model) {
  if (!model.ready) return element("span", { class: "bad" }, "refused");
  const text = outputsOf(model.manifest).summary;
  return isFlattered(model)
    ? element("span", { class: "muted", title: LEGEND }, `${text}*`)
    : element("span", { class: "muted" }, text);
}

/** Whether a model was measured on rows that may be those of its training. */
function isFlattered({ ready, manifest }) {
  return ready && outputsOf(manifest).measured && !manifest.training.held_out;
}

addEventListener("hashchange", show);
// Following the link itself would replace the model's address.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
load();
