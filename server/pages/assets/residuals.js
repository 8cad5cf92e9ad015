// How far predictions lie from the truth, from the lowest predictions to the highest.

import { element, scrolling } from "./element.js";

/**
 * The table of one target: a line for each share of the rows, with its bias drawn. write(number, signed) is
 * how its numbers are written.
 */
export function residuals(error, write) {
  const { residuals: lines } = error;
  const smallest = rounding(error);
  const biases = lines.map(({ bias }) => write(bias, true));
  const widest = Math.max(...lines.map(({ bias, mae }) => Math.max(Math.abs(bias), mae))) || 1;
  const heads = ["predicted", "rows", "MAE"].map((head) => element("th", { scope: "col" }, head));
  heads.push(element("th", { scope: "col", class: "drawn" }, element("span", {}, "bias")));
  const figure = element(
    "figure",
    { class: "residuals" },
    element("figcaption", {}, "Errors by prediction. The bias is positive where predictions are too high, and drawn beside the MAE."),
    scrolling(
      "Errors by prediction",
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, heads)),
        element(
          "tbody",
          {},
          lines.map((part, index) => {
            const [bias, mae] = [part.bias, part.mae].map((number) =>
              Math.abs(number) < smallest ? 0 : number / widest,
            );
            return line(part, biases[index], drawn(bias, mae), write);
          }),
        ),
      ),
    ),
  );
  figure.style.setProperty("--letters", Math.max(...biases.map(({ length }) => length)));
  return figure;
}

/** Smaller numbers are those of rounding: in proportion to the spread of the target, and to its size. */
function rounding({ baseline, residuals: lines }) {
  const ends = lines.flatMap(({ lowest, highest }) => [lowest, highest]);
  const spread = baseline ?? Math.max(...ends) - Math.min(...ends);
  return Math.max(1e-9 * spread, 1e-14 * Math.max(...ends.map(Math.abs)));
}

function line({ lowest, highest, rows, mae }, bias, picture, write) {
  const range = lowest === highest ? write(lowest) : `${write(lowest)} to ${write(highest)}`;
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, range),
    element("td", {}, rows.toLocaleString("en")),
    element("td", {}, write(mae)),
    element("td", { class: "drawn" }, element("span", {}, bias), picture),
  );
}

/** The bias as a bar from the middle, on a lane as long as the mean absolute error to both sides; zeros are none. */
function drawn(bias, mae) {
  const [lane, fill] = ["lane", "fill"].map((name) => element("span", { class: name }));
  lane.style.setProperty("width", `${100 * mae}%`);
  fill.style.setProperty("left", `${50 + 50 * Math.min(bias, 0)}%`);
  fill.style.setProperty("width", `${50 * Math.abs(bias)}%`);
  return element("span", { class: "bias", "aria-hidden": "true" }, mae ? lane : "", bias ? fill : "");
}
