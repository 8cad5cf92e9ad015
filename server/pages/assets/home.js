// The page: the list of models, and the one that its address names.

import { address, path, wanted } from "./address.js";
import { element, named, visible } from "./element.js";
import { ask } from "./exchange.js";
import { percent, plural } from "./numbers.js";
import { View } from "./view.js";

const main = document.getElementById("model");
const list = document.getElementById("models");
let models = null;
let view = null;
// Counts what is to be shown: what comes after another was asked for is late.
let turn = 0;

async function load() {
  const found = await asked("models", ++turn);
  if (!found) return;
  ({ models } = found);
  await show();
}

/** What the server says; where it does not, that is on the page in place of a model. */
async function asked(where, mine) {
  try {
    return await ask(where);
  } catch (error) {
    if (mine === turn) put(null, notice(visible(error.message), again()));
    return null;
  }
}

async function show() {
  if (models === null) return;
  const mine = ++turn;
  const { name, at } = wanted(location.hash);
  const model = name === undefined ? usual() : models.find((one) => one.name === name);
  drawList(model);
  document.title = model ? `${visible(model.name)} · Unpickled` : "Unpickled";
  if (!model) {
    put(null, ...missing(name));
  } else if (!model.ready) {
    put(null, element("h1", {}, named(model.name)), notice(visible(model.reason)));
  } else {
    const found = at ? await asked(path(model.name, at), mine) : model;
    if (found && mine === turn) open(found, at);
  }
}

function usual() {
  return models.find((one) => one.ready) ?? models[0];
}

function missing(name) {
  if (name === undefined)
    return [notice("There is no model yet. Export one, and it appears here: unpickled train iris")];
  const where = models.length ? ": those that there are stand in the list" : "";
  return [element("h1", {}, named(name)), notice(`There is no model of this name here${where}.`, again())];
}

function open(model, at) {
  const kept = view?.name === model.name ? view.values() : new Map();
  const opened = new View(model, at, kept, load);
  put(opened, ...opened.elements);
  opened.ask();
}

/** Something else in place of what is on the page. */
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

function again() {
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
        named(model.name, { class: "name" }),
        element("span", { class: model.ready ? "muted" : "bad" }, model.ready ? summary(model) : "refused"),
      ),
    ),
  );
  list.replaceChildren(element("h2", {}, plural(models.length, "model")), element("ul", {}, entries));
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function summary({ manifest }) {
  const accuracy = manifest.training.metrics?.accuracy;
  return accuracy === undefined ? plural(manifest.class_names.length, "class", "classes") : percent(accuracy);
}

addEventListener("hashchange", show);
// Its own way to the model would take the place of the model's address.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
load();
