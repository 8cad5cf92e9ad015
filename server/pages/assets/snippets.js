// The request that the page sends, as a shell command and as Python.

import { element } from "./element.js";
import { textAsJson } from "./numbers.js";

// The most features of which a request names each.
const RECORD = 20;
// JSON's words that Python spells otherwise.
const PYTHON = { null: "None", true: "True", false: "False" };

/** The body of a request: a record, or with many features an array in feature order. */
export function body(features, cells) {
  if (features.length > RECORD) return `{"features": [${cells.join(", ")}]}`;
  return `{${features.map(({ name }, index) => `${textAsJson(name)}: ${cells[index]}`).join(", ")}}`;
}

const LANGUAGES = {
  curl: (url, features, cells) => `curl ${quoted(url)} \\\n  -d ${quoted(body(features, cells))}`,
  requests: (url, features, cells) =>
    "import requests\n\n" +
    `answer = requests.post(\n    ${textAsJson(url)},\n    json=${literal(features, cells)},\n)\n` +
    "print(answer.json())",
  pandas: (url, features, cells) =>
    "import io\n\nimport pandas as pd\nimport requests\n\n" +
    `frame = pd.DataFrame([${record(features, cells)}])\n` +
    `answer = requests.post(\n    ${textAsJson(url)},\n    data=frame.to_csv(index=False),\n` +
    '    headers={"Content-Type": "text/csv"},\n)\n' +
    "print(pd.read_csv(io.StringIO(answer.text), keep_default_na=False))",
  polars: (url, features, cells) =>
    "import polars as pl\nimport requests\n\n" +
    `frame = pl.DataFrame([${record(features, cells)}])\n` +
    `answer = requests.post(\n    ${textAsJson(url)},\n    data=frame.write_ipc_stream(None).getvalue(),\n` +
    '    headers={"Content-Type": "application/vnd.apache.arrow.stream"},\n)\n' +
    "print(pl.read_ipc_stream(answer.content))",
  urllib: (url, features, cells) =>
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
    const copy = () => this.copy();
    this.copyButton = element("button", { type: "button", class: "copy", onclick: copy }, "Copy");
    this.element = element(
      "section",
      { class: "panel snippets", "aria-label": "Request in code" },
      element("h2", {}, "Request in code"),
      element(
        "div",
        { class: "tools" },
        element("div", { class: "segments", role: "group", "aria-label": "Language" }, this.buttons),
        this.copyButton,
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
    const done = await copy(this.code);
    this.copyButton.textContent = done ? "Copied" : "Select and copy";
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.copyButton.textContent = "Copy"), 2000);
  }
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Browsers offer the clipboard to pages over https or from localhost only.
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

/** Text as one word of a POSIX shell. */
function quoted(text) {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The body as a Python literal: strings and numbers are spelled as in JSON. */
function literal(features, cells, indent = "    ") {
  if (features.length > RECORD) return `{"features": [${cells.map(asPython).join(", ")}]}`;
  return record(features, cells, indent);
}

/** A dict of the features as a Python literal. */
function record(features, cells, indent = "") {
  const lines = features.map(
    ({ name }, index) => `${indent}    ${textAsJson(name)}: ${asPython(cells[index])},\n`,
  );
  return `{\n${lines.join("")}${indent}}`;
}

function asPython(cell) {
  return PYTHON[cell] ?? cell;
}
