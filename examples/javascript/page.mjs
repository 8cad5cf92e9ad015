// A form for one row of a model, answered by the model itself in this page.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { open } from "./model.mjs";

const FIRST = new URLSearchParams(location.search).get("model") ?? "models/iris/1/model.onnx";
// A page without the headers of cross-origin isolation has no threads.
ort.env.wasm.numThreads = 1;

const byId = (id) => document.getElementById(id);
let model;
// The latest question: answers to earlier ones may come later.
let asked = 0;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function use(bytes) {
  model = await open(ort, bytes);
  const { manifest } = model;
  byId("about").textContent = `${manifest.name}, made ${manifest.created.slice(0, 10)}`;
  byId("row").replaceChildren(...manifest.features.map((feature, place) => field(feature, manifest.golden.rows[0][place])));
  await answer();
  const { right, rows } = await model.check();
  byId("golden").textContent = `${right} of ${rows} golden rows answered as by the pipeline`;
  byId("golden").className = right === rows ? "" : "wrong";
}

/** The input of a feature, which begins with a value, and a box to leave it out where that may be. */
function field(feature, value) {
  const inputs = feature.kind === "category" ? [texts(feature, value)] : numbers(feature, value);
  inputs[0].className ||= inputs.length === 1 ? "wide" : "";
  inputs.forEach((input) => (input.ariaLabel = feature.name));
  const line = element("div", { className: "feature" }, element("span", { textContent: feature.name }), ...inputs);
  if (!feature.missing) return line;
  const box = element("input", { type: "checkbox", ariaLabel: `${feature.name} is missing`, checked: value === null });
  const switched = () => inputs.forEach((input) => (input.disabled = box.checked));
  box.addEventListener("change", switched);
  switched();
  line.append(element("label", { className: "missing" }, box, " missing"));
  return line;
}

function texts(feature, value) {
  const known = feature.categories ?? [];
  if (!feature.closed && known.length > 50) return element("input", { value: value ?? known[0] });
  const options = known.map((text) => element("option", { value: text, textContent: text || "(empty)" }));
  if (!feature.closed) options.push(element("option", { value: "something else", textContent: "another" }));
  const list = element("select", {}, ...options);
  list.value = known.includes(value) ? value : (known[0] ?? "something else");
  return list;
}

function numbers(feature, value) {
  if (feature.notation?.date) return [element("input", { value: value ?? "2024-01-31" })];
  const known = feature.closed ? feature.values : feature.boolean ? [0, 1] : null;
  if (known) {
    const list = element("select", {}, ...known.map((number) => element("option", { value: number, textContent: number })));
    list.value = Number(value ?? known[0]);
    return [list];
  }
  const [min, max] = [feature.minimum ?? 0, feature.maximum ?? 1];
  const start = value ?? feature.median ?? min;
  const exact = element("input", { type: "number", step: "any", value: start });
  const slider = element("input", { type: "range", min, max, step: "any", value: start });
  slider.addEventListener("input", () => (exact.value = Number(Number(slider.value).toPrecision(4))));
  exact.addEventListener("input", () => (slider.value = exact.value));
  // The exact number is what is asked; the slider writes it.
  exact.dataset.asked = "";
  return [slider, exact];
}

/** The row of the form, in the order of the features. */
function row() {
  return [...byId("row").children].map((line, place) => {
    const feature = model.manifest.features[place];
    if (line.querySelector(".missing input")?.checked) return null;
    const input = line.querySelector("[data-asked]") ?? line.querySelector("input, select");
    if (feature.kind === "category" || feature.notation?.date) return input.value;
    return input.value === "" ? NaN : Number(input.value);
  });
}

async function answer() {
  const turn = ++asked;
  const { class_names: names, outputs } = model.manifest;
  try {
    const [{ name, scores }] = await model.predict([row()]);
    if (turn !== asked) return;
    byId("label").textContent = name ?? "";
    byId("scores").replaceChildren(...scores.map((number, place) => score((outputs.targets ?? names)[place], number)));
  } catch (error) {
    if (turn !== asked) return;
    byId("label").replaceChildren();
    byId("scores").replaceChildren(element("p", { className: "wrong", textContent: error.message }));
  }
}

function score(name, number) {
  const shown = Math.abs(number) < 1e-4 && number !== 0 ? number.toExponential(2) : Number(number.toPrecision(6));
  const line = element(
    "div",
    { className: "score" },
    element("span", { textContent: name }),
    element("span", { textContent: shown, title: number }),
  );
  if (model.manifest.outputs.kind === "probabilities") line.append(element("meter", { value: number, ariaLabel: name }));
  return line;
}

function complain(error) {
  byId("about").replaceChildren(element("span", { className: "wrong", textContent: error.message }));
}

byId("row").addEventListener("input", answer);
byId("row").addEventListener("submit", (event) => event.preventDefault());
byId("file").addEventListener("change", async ({ target }) => {
  try {
    await use(new Uint8Array(await target.files[0].arrayBuffer()));
  } catch (error) {
    complain(error);
  }
});

try {
  const response = await fetch(FIRST);
  if (!response.ok) throw new Error(`${FIRST} is not here: write it with unpickled train iris, or choose a file`);
  await use(new Uint8Array(await response.arrayBuffer()));
} catch (error) {
  complain(error);
}
