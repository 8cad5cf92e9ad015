// Runs batches of rows through a model file with onnxruntime-web, in Node.js.
//
// The argument is the module of the package. The input is one line of JSON, {"fetches", "batches"}, and the bytes
// of the file. A batch maps the name of each input to {"type", "dims", "data"}; the output is one line of JSON with
// such an object for each output of each batch. Numbers are the base64 text of their bytes, which keeps every bit.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const ARRAYS = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array };

function read(ort, { type, dims, data }) {
  if (type === "string") return new ort.Tensor(type, data, dims);
  const bytes = Uint8Array.from(Buffer.from(data, "base64"));
  return new ort.Tensor(type, new ARRAYS[type](bytes.buffer), dims);
}

function written({ type, dims, data }) {
  if (type === "string") return { type, dims, data };
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { type, dims, data: bytes.toString("base64") };
}

const mapped = (tensors, change) =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, change(tensor)]));

async function main() {
  const ort = await import(pathToFileURL(process.argv[2]));
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const input = readFileSync(0);
  const end = input.indexOf("\n");
  const { fetches, batches } = JSON.parse(input.subarray(0, end).toString());
  const session = await ort.InferenceSession.create(Uint8Array.from(input.subarray(end + 1)), {
    executionProviders: ["wasm"],
    // This one rounds a factor beside a product of matrices to float32.
    extra: { optimization: { disable_specified_optimizers: "MatMulScaleFusion" } },
  });
  const answers = [];
  for (const batch of batches) {
    answers.push(mapped(await session.run(mapped(batch, (tensor) => read(ort, tensor)), fetches), written));
  }
  process.stdout.write(`\n${JSON.stringify(answers)}\n`);
}

main().catch((error) => {
  console.error(String(error?.message ?? error));
  process.exitCode = 1;
});
