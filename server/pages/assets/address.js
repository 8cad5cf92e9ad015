// Where a model is: on the server, and in the address of this page.

/** The path of a model; `at` says which of it: {kind: "versions", which: "2"}, or null for as served. */
export function path(name, at) {
  const end = at ? `/${at.kind}/${encodeURIComponent(at.which)}` : "";
  return `models/${encodeURIComponent(name)}${end}`;
}

export function address(name, at) {
  return `#/${path(name, at).slice("models/".length)}`;
}

/** {name, at} out of #/name, #/name/versions/2 or #/name/labels/canary; without a name, undefined. */
export function wanted(hash) {
  const [, name, kind, which] = hash.split("/").map(decoded);
  const at = ["versions", "labels"].includes(kind) && which ? { kind, which } : null;
  return { name: name || undefined, at };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
