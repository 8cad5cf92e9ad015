// A confusion matrix and a training curve.

import { element, isolated, scrolling, svg, visible } from "./element.js";
import { figure, percent } from "./numbers.js";

// More classes make a heat map.
const CLASSES = 15;

/** matrix[i][j]: rows of class i that were predicted as class j. A table; with many classes a heat map. */
export function confusion(names, matrix) {
  return element(
    "figure",
    {},
    element(
      "figcaption",
      {},
      "Confusion matrix: a row for each true class, a column for each predicted class",
    ),
    names.length <= CLASSES ? table(names, matrix) : heatMap(names, matrix),
  );
}

function table(names, matrix) {
  const heads = names.map((name) =>
    element("th", { scope: "col" }, isolated(name, { title: visible(name) })),
  );
  const rows = matrix.map((counts, row) => {
    const total = sum(counts);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, isolated(names[row], { title: visible(names[row]) })),
      counts.map((count, column) => cell(count, total, row === column)),
    );
  });
  return scrolling(
    "Confusion matrix",
    element(
      "table",
      { class: "confusion" },
      element("thead", {}, element("tr", {}, element("td"), heads)),
      element("tbody", {}, rows),
    ),
  );
}

function cell(count, total, correct) {
  const share = total === 0 ? 0 : count / total;
  const node = element(
    "td",
    { class: correct ? "right" : "wrong", title: percent(share) },
    count === 0 ? "·" : count.toLocaleString("en"),
  );
  if (count === 0) node.classList.add("none");
  node.style.setProperty("--share", share);
  return node;
}

function heatMap(names, matrix) {
  const side = names.length;
  const totals = matrix.map(sum);
  const cells = matrix
    .flatMap((counts, row) => counts.map((count, column) => ({ count, row, column })))
    .filter(({ count }) => count > 0);
  const squares = cells.map(({ count, row, column }) =>
    svg(
      "rect",
      {
        x: column,
        y: row,
        width: 1,
        height: 1,
        class: row === column ? "right" : "wrong",
        "fill-opacity": 0.25 + (0.75 * count) / totals[row],
      },
      svg("title", {}, `${visible(names[row])} predicted as ${visible(names[column])}: ${count}`),
    ),
  );
  const confusions = cells
    .filter(({ row, column }) => row !== column)
    .sort((a, b) => b.count - a.count)
    .slice(0, 5);
  const items = confusions.map(({ count, row, column }) =>
    element("li", {}, isolated(names[row]), " predicted as ", isolated(names[column]), `: ${count}`),
  );
  return element(
    "div",
    { class: "heat" },
    svg(
      "svg",
      {
        viewBox: `0 0 ${side} ${side}`,
        role: "img",
        "aria-label": `${side} by ${side} classes`,
        "shape-rendering": "crispEdges",
      },
      svg("rect", { width: side, height: side, class: "ground" }),
      squares,
    ),
    items.length
      ? element("div", {}, element("p", { class: "muted" }, "Most frequent errors"), element("ol", {}, items))
      : "",
  );
}

function sum(counts) {
  return counts.reduce((total, count) => total + count, 0);
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [560, 200, 64, 28, 10, 12];

/** Loss by epoch or boosting stage. */
export function curve({ unit, loss }) {
  const minimum = Math.min(...loss);
  const maximum = Math.max(...loss);
  const x = (index) => LEFT + (index / Math.max(loss.length - 1, 1)) * (WIDTH - LEFT - RIGHT);
  const range = maximum - minimum;
  const y = (value) => TOP + (range > 0 ? (maximum - value) / range : 0.5) * (HEIGHT - TOP - BOTTOM);
  const line = loss.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const levels = range > 0 ? [maximum, (maximum + minimum) / 2, minimum] : [minimum];
  const grid = levels.map((value) => [
    svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
    svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, figure(value, 3)),
  ]);
  const labels = [
    [0, "start"],
    [loss.length - 1, "end"],
  ]
    .slice(0, loss.length)
    .map(([index, anchor]) =>
      svg("text", { x: x(index), y: HEIGHT - 8, "text-anchor": anchor }, `${visible(unit)} ${index + 1}`),
    );
  const ends = `${figure(loss[0])} to ${figure(loss.at(-1))}`;
  const description = `Training loss, ${ends}, by ${visible(unit)}, ${loss.length} values`;
  return element(
    "figure",
    {},
    element("figcaption", {}, `Training loss, ${ends}`),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img", "aria-label": description },
      grid,
      labels,
      svg("polyline", { points: line }),
      svg("circle", { cx: x(loss.length - 1), cy: y(loss.at(-1)), r: 3.5 }),
    ),
  );
}
