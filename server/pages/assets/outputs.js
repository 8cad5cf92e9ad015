// What a model answers with: a class for each kind of model, with the same members. Nothing else of the page
// knows classes or targets. A model of another kind is another such class, and one line in outputsOf().
//
// size, summary     what the page says of the answers beside the model's name, and in the list of models:
//                   there the figure that `unpickled models list` has
// measured          whether the summary is a figure of quality
// tensors           the names of the graph's outputs
// shape             equal for two versions whose answers have the same picture
// explained         an explanation may be of a class or a target: that noun, the one by default, the names of
//                   all, and the word for their numbers
// picture()         a new picture: its element, and show(answer)
// read(document)    the answer to one row in a document of /predict; null where another version's manifest
//                   describes it: its headline as text, `exact` digits of it, a remark, [name, value] in
//                   brief, and the numbers; `listed` where the picture says all that the headline says
// golden(row)       the headline of the pipeline's answer to a golden row
// compare(answer, row)   whether an answer equals it, and the largest difference of their numbers
// quality()         how good the answers were on measured rows; null where nobody measured
// difference, ties  the parity gate's findings in words; no ties where nothing can tie

import { Classification } from "./classification.js";
import { Regression } from "./regression.js";

/** The end of a sentence about rows that quality was measured on, where training did not hold them out. */
export const GIVEN = "that the export was given; training rows flatter a model";

/** The answers of a model with this manifest. */
export function outputsOf(manifest) {
  return manifest.outputs.kind === "prediction" ? new Regression(manifest) : new Classification(manifest);
}
