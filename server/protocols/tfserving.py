"""TensorFlow Serving's REST API, which KServe calls its V1 protocol.

    {"instances": [[5.1, ...], {"sepal_length": 4.9, ...}]}   {"predictions": [{"prediction": 0,
                                                               "predicted_class": "setosa",
                                                               "probabilities": [0.98, 0.02, 0.0]}, ...]}
    {"inputs": {"sepal_length": [5.1, 4.9], ...}}             {"outputs": {"prediction": [0, 0],
    {"inputs": [[5.1, 3.5, 1.4, 0.2], ...]}                    "predicted_class": ["setosa", "setosa"],
                                                               "probabilities": [[...], ...]}}

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A model has one signature
here: ``signature_name`` may be anything.
"""

from collections.abc import Sequence

from unpickled.server.inference.predictor import Outcome, Predictor
from unpickled.server.message.answer import OPTIONS, Environ, dumps
from unpickled.server.message.body import Members
from unpickled.server.model.signature import Row
from unpickled.server.protocols.forms import chosen
from unpickled.server.protocols.rows import Reader

_FORMS = {"instances": ("signature_name",), "inputs": ("signature_name",)}
_EXAMPLE = '{"instances": [row, ...]} or {"inputs": {feature name: [value, ...], ...}}'


class TFServing:
    """Answers ``:predict`` for one model."""

    def __init__(self, predictor: Predictor, reader: Reader) -> None:
        self._predictor = predictor
        self._reader = reader

    def predict(self, request: bytes, _: Environ) -> Outcome:
        """The answer to one request; raises RequestError."""
        rows = self._reader.instances(request) if b'"instances"' in request[:64] else None
        return self._predict_strictly(request) if rows is None else self._predictions(rows)

    def _predict_strictly(self, request: bytes) -> Outcome:
        members = self._reader.document(request, _EXAMPLE)
        if chosen(members, _FORMS, _EXAMPLE) == "instances":
            return self._predictions(self._reader.listed(members["instances"], "'instances'"))
        inputs = members["inputs"]
        if isinstance(inputs, Members):
            return self._outputs(self._reader.columns(inputs))
        return self._outputs(self._reader.listed(inputs, "'inputs'"))

    def _predictions(self, rows: Sequence[Row]) -> Outcome:
        decoded, ran, labels, scores = self._predictor.run(rows)
        named = zip(labels, self._predictor.named(labels), scores.tolist(), strict=True)
        kind = self._predictor.kind
        answers = [{"prediction": label, "predicted_class": name, kind: row} for label, name, row in named]
        return dumps({"predictions": answers}), decoded, ran, rows, labels, scores, None

    def _outputs(self, rows: Sequence[Row]) -> Outcome:
        decoded, ran, labels, scores = self._predictor.run(rows)
        content = dumps({"outputs": self._predictor.arrays(labels, scores)}, option=OPTIONS)
        return content, decoded, ran, rows, labels, scores, None
