// A model file of Unpickled in JavaScript: its manifest, the tensors of rows, and the answers to them.
//
// It works with onnxruntime-node and with onnxruntime-web, whose module the caller hands over as `ort`.

// Stands for a missing text: ONNX has none, and no text contains this noncharacter.
const MISSING = "\ufdd0";
const ARRAYS = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array };
// The optimization that rounds a factor beside a product of matrices to float32: without it every digit stays.
const EXACT = { extra: { optimization: { disable_specified_optimizers: "MatMulScaleFusion" } } };

/** The manifest in the bytes of a model.onnx. Neither package reads the metadata of a file. */
export function manifestOf(bytes) {
  const decoder = new TextDecoder();
  for (const [number, content] of fields(bytes)) {
    if (number !== 14) continue; // metadata_props: entries with a key, 1, and a value, 2
    const entry = Object.fromEntries([...fields(content)].map(([n, text]) => [n, decoder.decode(text)]));
    if (entry[1] !== "unpickled.manifest") continue;
    const manifest = JSON.parse(entry[2]);
    if (manifest.schema === 1) return manifest;
    throw new Error(`the manifest has schema ${manifest.schema}, and this program reads schema 1`);
  }
  throw new Error("the file has no manifest: unpickled did not write it");
}

/** The fields of a protobuf message that hold bytes: number and content. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let [value, factor, byte] = [0, 1, 0];
    do {
      byte = bytes[at++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const key = varint();
    if (key % 8 === 2) {
      const length = varint();
      yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
      at += length;
    } else if (key % 8 === 0) varint();
    else at += key % 8 === 1 ? 8 : 4;
  }
}

/** A model, ready to answer; `bytes` is a Uint8Array. */
export async function open(ort, bytes) {
  const manifest = manifestOf(bytes);
  return new Model(ort, manifest, await ort.InferenceSession.create(bytes, EXACT));
}

class Model {
  constructor(ort, manifest, session) {
    Object.assign(this, { ort, manifest, session });
    this.features = new Map(manifest.features.map((feature, place) => [feature.name, { ...feature, place }]));
  }

  /** Answers to rows: arrays in the order of the features, of numbers, texts and null for a missing value. */
  async predict(rows) {
    const { label, scores, targets } = this.manifest.outputs;
    const outputs = await this.session.run(this.tensors(rows), label ? [label, scores] : [scores]);
    const numbers = Array.from(outputs[scores].data);
    const names = targets ?? this.manifest.class_names;
    return rows.map((_, row) => {
      const own = numbers.slice(row * names.length, (row + 1) * names.length);
      return label ? this.classified(outputs[label].data[row], own) : { scores: own };
    });
  }

  /** The label as the pipeline has it, the name that people give it, and a score for each class. */
  classified(value, scores) {
    const { classes, class_names } = this.manifest;
    const label = typeof value === "bigint" ? Number(value) : value;
    return { label, name: class_names[classes.indexOf(label)], scores };
  }

  /** One tensor (rows, features) for each input of the graph. */
  tensors(rows) {
    const tensors = {};
    for (const { name, dtype, features } of this.manifest.inputs) {
      const columns = features.map((feature) => this.features.get(feature));
      const cells = rows.flatMap((row) => columns.map((column) => cell(column, row[column.place])));
      const filled = dtype === "string" ? cells.map((text) => text ?? MISSING) : numbers(cells, dtype);
      tensors[name] = new this.ort.Tensor(dtype, filled, [rows.length, features.length]);
    }
    return tensors;
  }

  /** The numbers of the golden rows that are answered as by the pipeline, and of all. */
  async check() {
    const { rows, labels, scores } = this.manifest.golden;
    const answers = await this.predict(rows);
    const right = answers.filter(
      (answer, row) => answer.label === labels?.[row] && this.close(answer.scores, scores[row]),
    );
    return { right: right.length, rows: rows.length };
  }

  /** Whether scores are those of the pipeline, by the tolerance that the export had. */
  close(scores, expected) {
    const { outputs, parity } = this.manifest;
    return scores.every((score, place) => {
      const size = outputs.targets ? sizeOf(expected[place], outputs.spans?.[place]) : 1 + Math.abs(expected[place]);
      return Math.abs(score - expected[place]) <= parity.tolerance * size;
    });
  }
}

/** The size by which the difference from a predicted number is measured. */
function sizeOf(number, span) {
  const largest = Math.max(1, Math.abs(number));
  return span ? Math.min(largest, Math.max(span[1], Math.abs(number - span[0]))) : largest;
}

/** The value of a feature in a row, as the graph takes it; an error where a server would refuse it. */
function cell(feature, value) {
  const fault = (reason) => new Error(`feature ${feature.name} is ${JSON.stringify(value)}: ${reason}`);
  if (value === null || value === undefined) {
    if (feature.missing) return null;
    throw fault("the model cannot do without it");
  }
  if (feature.kind === "category") {
    if (typeof value !== "string") throw fault("a text belongs there");
    const known = feature.categories?.includes(value);
    if (feature.missing_words?.includes(value.trim()) && !known) return cell(feature, null);
    if (feature.closed && !known) throw fault("the model does not know it");
    return value;
  }
  const number = feature.notation?.date ? seconds(value) : typeof value === "boolean" ? Number(value) : value;
  if (!Number.isFinite(number)) throw fault(`${feature.notation?.date ? "a date" : "a number"} belongs there`);
  if (feature.closed && !feature.values.includes(number)) throw fault("the model does not know it");
  if (number < (feature.lowest ?? -Infinity) || number > (feature.highest ?? Infinity)) throw fault("out of range");
  return number;
}

/** A date in ISO 8601 as whole seconds since 1970-01-01; without an offset it counts as UTC. */
function seconds(text) {
  const zoned = /T.*(Z|[-+]\d\d:?\d\d)$/.test(text) || !text.includes("T") ? text : `${text}Z`;
  return Math.floor(Date.parse(zoned) / 1000);
}

function numbers(cells, dtype) {
  if (dtype === "int64") return BigInt64Array.from(cells, BigInt);
  const filled = ARRAYS[dtype].from(cells, (number) => number ?? NaN);
  if (filled.some((number) => Math.abs(number) === Infinity)) throw new Error(`a number is too large for ${dtype}`);
  return filled;
}
