// Requests to the server, and its responses.

const TIMEOUT = 20_000;

/** The document at a URL; throws an Error with the server's sentence where it refuses. */
export async function get(url) {
  const response = await fetch(url, {
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(TIMEOUT),
  });
  const document = await response.json();
  if (!response.ok) throw new Error(document.error);
  return document;
}

/** {ok, document, version, times} of one POST; without a response, the document holds the reason. */
export async function post(url, body) {
  const request = {
    method: "POST",
    headers: { "Content-Type": "application/json", "Server-Timing": "1" },
    body,
    signal: AbortSignal.timeout(TIMEOUT),
  };
  const started = performance.now();
  try {
    const response = await fetch(url, request);
    const text = await response.text();
    return {
      times: { roundTrip: performance.now() - started, server: spans(response) },
      ok: response.ok,
      version: response.headers.get("Model-Version"),
      document: JSON.parse(text),
    };
  } catch (error) {
    return { ok: false, document: { error: `no response: ${error.message}` } };
  }
}

/** An array of features is answered by an array of one element, a record by the element itself. */
export function first(value) {
  return Array.isArray(value) ? value[0] : value;
}

/** Server-Timing as {name: milliseconds}. */
function spans(response) {
  const parts = (response.headers.get("Server-Timing") ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g);
  return Object.fromEntries([...parts].map(([, name, time]) => [name, Number(time)]));
}
