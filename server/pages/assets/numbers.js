// Numbers as people read them, and as JSON spells them.

import { visible } from "./element.js";

/** A number to be read, not to be sent: 0.9822, 3.4e-7, 12,345. */
export function figure(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9))
    return value.toExponential(1).replace("e+", "e").replace(".0e", "e");
  if (size >= 1e4) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

/** A predicted amount to be read: 152.133, 1,234.57, 453,210,118, 3.2e-7; `signed` ones begin with + or −. */
export function amount(value, digits = 6, signed = false) {
  const size = Math.abs(value);
  const sign = signed === true && value > 0 ? "+" : "";
  if (size !== 0 && (size < 1e-4 || size >= 1e15))
    return `${sign}${Number(value.toPrecision(digits)).toExponential().replace("e+", "e")}`;
  const whole = size < 1 ? 0 : Math.floor(Math.log10(size)) + 1;
  // Leading zeros of a fraction are no digits of it.
  const zeros = size === 0 || size >= 1 ? 0 : -Math.floor(Math.log10(size)) - 1;
  const maximumFractionDigits = Math.max(digits - whole, 0) + zeros;
  return `${sign}${value.toLocaleString("en", { maximumFractionDigits })}`;
}

/** A number with so many decimals: 1,234.50; `signed` ones begin with + or −, and 0 has no sign. */
export function fixed(value, decimals, signed = false) {
  const rounded = Number(value.toFixed(decimals)) || 0;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return `${signed && rounded > 0 ? "+" : ""}${rounded.toLocaleString("en", digits)}`;
}

/** A share of 1, with enough digits to tell it from 0% and 100%: 98.2%, 99.996%, 3.4e-5%. */
export function percent(share) {
  const value = 100 * share;
  if (value === 0 || value === 100) return `${value}%`;
  if (value < 0.01) return `${value.toExponential(1)}%`;
  if (value > 99.99) return `${Math.min(value, 99.9999).toFixed(4)}%`;
  return `${value > 99 || value < 1 ? value.toFixed(2) : value.toFixed(1)}%`;
}

/** Milliseconds: 38 µs, 2.1 ms, 1.2 s. */
export function duration(milliseconds) {
  if (milliseconds < 1) return `${Math.round(1000 * milliseconds)} µs`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1000 && unit < 3) {
    bytes /= 1000;
    unit += 1;
  }
  return `${figure(bytes, 3)} ${units[unit]}`;
}

export function plural(count, noun, nouns = `${noun}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? noun : nouns}`;
}

/** "1", "1 and 2", "1, 2 and 3". */
export function enumerated(items) {
  return [items.slice(0, -1).join(", "), ...items.slice(-1)].filter((part) => part !== "").join(" and ");
}

const NUMBER = /^([+-]?)0*(\d+|(?=\.\d))(?:\.(\d*))?([eE][+-]?\d+)?$/;

/**
 * A number that somebody typed, as JSON. Its digits are sent unchanged, so that the server rounds them and
 * not this page. Anything else is sent as text, and the server refuses it with a sentence.
 */
export function numberAsJson(typed) {
  const text = typed.trim();
  if (text === "") return "null";
  const parts = NUMBER.exec(text);
  if (parts === null) return textAsJson(text);
  const [, sign, whole, fraction, exponent] = parts;
  return `${sign === "-" ? "-" : ""}${whole || "0"}${fraction ? `.${fraction}` : ""}${exponent ?? ""}`;
}

/** Text as JSON. Invisible characters are escaped, so that a command shows all of itself before it is run. */
export function textAsJson(text) {
  return visible(JSON.stringify(text));
}

// A Unicode noncharacter: no text contains it.
const MARK = "\ufdd0";
const TEXT_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const MARKED = new RegExp(`"${MARK}([^"]*)"`, "g");

/** JSON whose numbers become marked strings of their digits; asJson() writes them back unchanged. */
export function parsed(text) {
  // Throws a SyntaxError about the text itself, not about the marked one.
  JSON.parse(text);
  return JSON.parse(
    text.replace(TEXT_OR_NUMBER, (token) => (token.startsWith('"') ? token : `"${MARK}${token}"`)),
  );
}

/** A value of a row as JSON. */
export function asJson(value) {
  if (typeof value === "number" && !Number.isFinite(value)) return `"${value}"`;
  return visible(JSON.stringify(value).replace(MARKED, "$1"));
}

/** The step of a slider between two numbers: 1, 2 or 5 times a power of ten. */
export function stepBetween(minimum, maximum, whole) {
  const rough = (maximum - minimum) / 200;
  if (whole) return Math.max(1, Math.round(rough));
  const power = 10 ** Math.floor(Math.log10(rough));
  return Number.isFinite(power) && power > 0 ? power * [1, 2, 5].findLast((m) => m * power <= rough) : 0;
}

/** The nearest multiple of the step, with no digits beyond those of the step. */
export function stepped(value, step) {
  if (!(step > 0)) return value;
  const multiple = Math.round(value / step) * step;
  const digits = Math.ceil(Math.log10(Math.max(Math.abs(multiple), step) / step)) + 1;
  return Number(multiple.toPrecision(Math.min(Math.max(digits, 1), 15)));
}
