// Where a model is: on the server, and in the address of this page.

/**
 * The path of a model, or of one of its versions: `target` is {kind: "versions", id: "2"},
 * {kind: "labels", id: "canary"}, or null for whatever answers plain requests.
 */
export function path(name, target) {
  const end = target ? `/${target.kind}/${encodeURIComponent(target.id)}` : "";
  return `models/${encodeURIComponent(name)}${end}`;
}

/** The same in the address of this page. */
export function address(name, target) {
  return `#/${path(name, target).slice("models/".length)}`;
}

/** {name, target} of #/name, #/name/versions/2 or #/name/labels/canary; the name is undefined in "#". */
export function fromHash(hash) {
  const [, name, kind, id] = hash.split("/").map(decoded);
  const target = ["versions", "labels"].includes(kind) && id ? { kind, id } : null;
  return { name: name || undefined, target };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
