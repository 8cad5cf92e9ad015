// node predict.mjs [--web] MODEL.onnx [ROW]: answer one row, an array in JSON, and check the golden rows.

import { readFile } from "node:fs/promises";
import { open } from "./model.mjs";

// A refusal is a sentence, and no trace of the program.
process.on("uncaughtException", (error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});

const words = process.argv.slice(2).filter((word) => word !== "--web");
const web = process.argv.includes("--web");
if (!words[0]) throw new Error("name a file: node predict.mjs [--web] MODEL.onnx [ROW]");
const ort = (await import(web ? "onnxruntime-web" : "onnxruntime-node")).default;

const model = await open(ort, new Uint8Array(await readFile(words[0])));
const row = words[1] ? JSON.parse(words[1]) : model.manifest.golden.rows[0];
const [answer] = await model.predict([row]);
const names = model.manifest.outputs.targets ?? model.manifest.class_names;
if (answer.name !== undefined) console.log(`${JSON.stringify(row)} is ${answer.label}, ${answer.name}`);
names.forEach((name, place) => console.log(`  ${name}: ${answer.scores[place]}`));
const { right, rows } = await model.check();
console.log(`${right} of ${rows} golden rows answered as by the pipeline`);
process.exitCode = right === rows ? 0 : 1;
