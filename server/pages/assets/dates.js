// Dates as text, and as seconds since 1970, which the manifest has.

const ISO = /^\s*(\d{4})-(\d\d?)-(\d\d?)(?:[Tt ](\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?\s*(Z|[+-]\d\d:?\d\d)?\s*$/;

/** A date in ISO 8601, without a time where the feature has none. */
export function dateOf(seconds, { times, offset }) {
  const [day, clock] = new Date(1000 * Math.floor(seconds)).toISOString().slice(0, 19).split("T");
  return times || offset ? `${day}T${clock}${offset ? "Z" : ""}` : day;
}

/** The seconds of a date in ISO 8601; NaN for any other text, which the server may read all the same. */
export function secondsOf(text) {
  const [, year, month, day, hour = 0, minute = 0, second = 0, offset = "Z"] = ISO.exec(text) ?? [];
  if (year === undefined) return NaN;
  const date = new Date(0);
  // Date.UTC would take the years up to 99 for those of the last century.
  date.setUTCFullYear(Number(year), month - 1, Number(day));
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  const [, sign, hours, minutes] = /([+-])(\d\d):?(\d\d)/.exec(offset) ?? [null, "+", 0, 0];
  return date.getTime() / 1000 - (sign === "-" ? -1 : 1) * (3600 * hours + 60 * minutes);
}

/** Whether a feature is a date. */
export function isDate(feature) {
  return Boolean(feature.notation?.date);
}
