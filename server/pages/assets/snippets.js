// The request that is on screen, for a shell and for Python.

import { element } from "./element.js";
import { textAsJson } from "./numbers.js";

const NAMED = 20;

/** The body of a request: by name while that can be read, else in feature order. */
export function body(features, cells) {
  if (features.length > NAMED) return `{"features": [${cells.join(", ")}]}`;
  return `{${features.map(({ name }, index) => `${textAsJson(name)}: ${cells[index]}`).join(", ")}}`;
}

const LANGUAGES = {
  curl: (url, features, cells) => `curl ${quoted(url)} \\\n  -d ${quoted(body(features, cells))}`,
  requests: (url, features, cells) =>
    "import requests\n\n" +
    `answer = requests.post(\n    ${textAsJson(url)},\n    json=${literal(features, cells)},\n)\n` +
    "print(answer.json())",
  "Python alone": (url, features, cells) =>
    "import json\nimport urllib.request\n\n" +
    `row = ${literal(features, cells, "")}\nbody = json.dumps(row).encode()\n` +
    `with urllib.request.urlopen(${textAsJson(url)}, body) as answer:\n    print(json.load(answer))`,
};

export class Snippets {
  constructor(url, features) {
    this.url = url;
    this.features = features;
    this.language = "curl";
    this.code = element("code");
    this.buttons = Object.keys(LANGUAGES).map((language) =>
      element("button", { type: "button", onclick: () => this.choose(language) }, language),
    );
    this.copied = element("button", { type: "button", class: "copy", onclick: () => this.copy() }, "Copy");
    this.element = element(
      "section",
      { class: "panel snippets", "aria-label": "From elsewhere" },
      element("h2", {}, "From elsewhere"),
      element(
        "div",
        { class: "tools" },
        element("div", { class: "segments", role: "group", "aria-label": "Language" }, this.buttons),
        this.copied,
      ),
      element("pre", { tabindex: 0, "aria-label": "The same request" }, this.code),
    );
    this.choose("curl");
  }

  choose(language) {
    this.language = language;
    for (const button of this.buttons) button.setAttribute("aria-pressed", button.textContent === language);
    this.draw();
  }

  show(cells) {
    this.cells = cells;
    this.draw();
  }

  draw() {
    if (this.cells) this.code.textContent = LANGUAGES[this.language](this.url, this.features, this.cells);
  }

  async copy() {
    const done = await copied(this.code);
    this.copied.textContent = done ? "Copied" : "Select and copy";
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.copied.textContent = "Copy"), 2000);
  }
}

async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // There is a clipboard only where the page came over https or from this machine.
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

/** A word of a POSIX shell. */
function quoted(text) {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The body as Python writes it: its strings and numbers are those of JSON. */
function literal(features, cells, indent = "    ") {
  const values = cells.map((cell) => (cell === "null" ? "None" : cell));
  if (features.length > NAMED) return `{"features": [${values.join(", ")}]}`;
  const lines = features.map(({ name }, index) => `${indent}    ${textAsJson(name)}: ${values[index]},\n`);
  return `{\n${lines.join("")}${indent}}`;
}
