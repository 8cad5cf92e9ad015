// The control of a date.

import { dateOf, secondsOf } from "./dates.js";
import { Numeric } from "./feature.js";
import { textAsJson } from "./numbers.js";

/** A date: a field for its text, and a slider over the days or minutes of its training range. */
export class Dated extends Numeric {
  constructor(feature, index, change) {
    super(feature, index, change);
    this.control.inputMode = "text";
    this.control.classList.add("date");
  }

  number(cell) {
    return cell.startsWith('"') ? secondsOf(JSON.parse(cell)) : NaN;
  }

  figure(seconds) {
    return dateOf(seconds, this.feature.notation);
  }

  stepBetween(minimum, maximum) {
    return this.feature.notation.times ? (maximum - minimum > 86400 ? 60 : 1) : 86400;
  }

  stepped(position) {
    return this.step * Math.round(position / this.step);
  }

  cellOf(seconds) {
    return textAsJson(dateOf(seconds, this.feature.notation));
  }

  typedCell(text) {
    return text.trim() === "" ? "null" : textAsJson(text.trim());
  }

  hint() {
    const order = this.feature.notation.date;
    const other = Number.isNaN(this.value) && this.control.value !== "" && order !== "year first";
    // The server's sentence about a text that is no date names the order already.
    return other && !this.sentence ? `read with the ${order}` : "";
  }
}
