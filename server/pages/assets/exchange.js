// What the server is asked, and what it says.

const PATIENCE = 20_000;

/** The document that is there; where there is none, an error in the server's words. */
export async function ask(where) {
  const answer = await fetch(where, {
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(PATIENCE),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error);
  return document;
}

/** {ok, document, version, times} of one prediction; where no answer came, the document says that. */
export async function predict(where, body) {
  const request = {
    method: "POST",
    headers: { "Content-Type": "application/json", "Server-Timing": "1" },
    body,
    signal: AbortSignal.timeout(PATIENCE),
  };
  const started = performance.now();
  try {
    const response = await fetch(where, request);
    const text = await response.text();
    return {
      times: { trip: performance.now() - started, server: spans(response) },
      ok: response.ok,
      version: response.headers.get("Model-Version"),
      document: JSON.parse(text),
    };
  } catch (error) {
    return { ok: false, document: { error: `no answer came: ${error.message}` } };
  }
}

/** Server-Timing as {name: milliseconds}. */
function spans(response) {
  const parts = (response.headers.get("Server-Timing") ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g);
  return Object.fromEntries([...parts].map(([, name, time]) => [name, Number(time)]));
}
