// How far predictions lie from the truth, from the lowest predictions to the highest.

import { element, scrolling } from "./element.js";

/**
 * The table of one target: a line for each share of the rows, with its bias drawn. write(number, signed) is
 * how its numbers are written.
 */
export function residuals({ residuals: lines }, write) {
  const widest = Math.max(...lines.map(({ bias, mae }) => Math.max(Math.abs(bias), mae))) || 1;
  const heads = ["predicted", "rows", "MAE"].map((head) => element("th", { scope: "col" }, head));
  heads.push(element("th", { scope: "col", class: "drawn" }, element("span", {}, "bias")));
  return element(
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
          lines.map((part) => line(part, widest, write)),
        ),
      ),
    ),
  );
}

function line({ lowest, highest, rows, bias, mae }, widest, write) {
  const range = lowest === highest ? write(lowest) : `${write(lowest)} to ${write(highest)}`;
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, range),
    element("td", {}, rows.toLocaleString("en")),
    element("td", {}, write(mae)),
    element(
      "td",
      { class: "drawn" },
      element("span", {}, write(bias, true)),
      drawn(bias / widest, mae / widest),
    ),
  );
}

/** The bias as a bar from the middle, on a lane as long as the mean absolute error to both sides. */
function drawn(bias, mae) {
  const [lane, fill] = ["lane", "fill"].map((name) => element("span", { class: name }));
  lane.style.setProperty("width", `${100 * mae}%`);
  fill.style.setProperty("left", `${50 + 50 * Math.min(bias, 0)}%`);
  fill.style.setProperty("width", `${50 * Math.abs(bias)}%`);
  return element("span", { class: "bias", "aria-hidden": "true" }, lane, fill);
}
