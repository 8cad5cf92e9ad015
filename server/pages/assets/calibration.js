// Probabilities beside what came true.

import { element, svg } from "./element.js";
import { figure, percent, plural } from "./numbers.js";

// Sizes in units of the picture, which scales with the page: its square, the room around it, the bars below it.
const [SIDE, LEFT, TOP, BELOW, COUNTS] = [220, 36, 8, 30, 50];

const LEGEND =
  "The line of a dot is its 95% interval. On the dashed diagonal, a probability is right. Bars count the rows.";

/** What came true of each tenth of probability: a dot and its interval, beside the diagonal, above the rows. */
export function calibrated({ bins, error }) {
  const most = Math.max(...bins.map(({ rows }) => rows)) || 1;
  const label = `Calibration: error ${figure(error, 2)}`;
  return element(
    "figure",
    { class: "calibration" },
    element("figcaption", {}, "Calibration: the probability of the class answered (across), and how often that was right (up)"),
    element("p", { class: "muted" }, LEGEND),
    svg(
      "svg",
      { viewBox: `0 0 ${LEFT + SIDE + 18} ${TOP + SIDE + BELOW + COUNTS}`, role: "img", "aria-label": label },
      svg("rect", { class: "frame", x: LEFT, y: TOP, width: SIDE, height: SIDE }),
      svg("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
      [0, 0.5, 1].map((share) => [
        svg("text", { x: x(share), y: TOP + SIDE + 14, "text-anchor": "middle" }, `${100 * share}%`),
        svg("text", { x: LEFT - 5, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}%`),
      ]),
      bins.filter(({ rows }) => rows).map((bin) => tenth(bin, most)),
    ),
  );
}

function tenth({ lowest, highest, rows, probability, came_true: right }, most) {
  const middle = x((lowest + highest) / 2);
  const height = Math.max((rows / most) * (COUNTS - 16), 1);
  const floor = TOP + SIDE + BELOW + COUNTS;
  const told = `${percent(lowest)} to ${percent(highest)}: ${plural(rows, "row")}, ${percent(right.value)} right at ${percent(probability)} on average`;
  const reach = { x1: x(probability), x2: x(probability), y1: y(right.lowest), y2: y(right.highest) };
  return svg(
    "g",
    {},
    svg("title", {}, told),
    svg("rect", { class: "rows", x: middle - 9, y: floor - height, width: 18, height }),
    svg("text", { x: middle, y: floor - height - 3, "text-anchor": "middle" }, short(rows)),
    svg("line", { class: "reach", ...reach }),
    svg("circle", { class: "dot", cx: x(probability), cy: y(right.value), r: 3.5 }),
  );
}

function x(probability) {
  return LEFT + probability * SIDE;
}

function y(share) {
  return TOP + (1 - share) * SIDE;
}

/** A count that fits above a bar: 126, 1.3k, 25k, 2M. */
export function short(rows) {
  return new Intl.NumberFormat("en", { notation: "compact" }).format(rows).replace("K", "k");
}
