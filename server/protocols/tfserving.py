"""TensorFlow Serving's REST API, which KServe calls its V1 protocol.

    {"instances": [[5.1, ...], {"sepal_length": 4.9, ...}]}   {"predictions": [{"prediction": 0,
                                                               "predicted_class": "setosa",
                                                               "probabilities": [0.98, 0.02, 0.0]}, ...]}
    {"inputs": {"sepal_length": [5.1, 4.9], ...}}             {"outputs": {"prediction": [0, 0],
    {"inputs": [[5.1, 3.5, 1.4, 0.2], ...]}                    "predicted_class": ["setosa", "setosa"],
                                                               "probabilities": [[...], ...]}}

A model with one output, which is a regressor, answers without its name, as TensorFlow Serving does:
{"predictions": [3.2, ...]} and {"outputs": [3.2, ...]}.

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A model has one signature
here: ``signature_name`` may be anything.
"""

from collections.abc import Collection, Sequence

from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.writing import written
from unpickled.server.message import media
from unpickled.server.message.answer import Environ
from unpickled.server.message.jsonschema import Schema, array, either, only
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Row
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols import bodies
from unpickled.server.protocols.bodies import Bodies
from unpickled.server.protocols.forms import chosen
from unpickled.server.protocols.protocol import Paths, Protocol, Subject

_FORMS = {"instances": ("signature_name",), "inputs": ("signature_name",)}
_EXAMPLE = '{"instances": [row, ...]} or {"inputs": {feature name: [value, ...], ...}}'


class TFServing:
    """Answers ``:predict`` for one model."""

    def __init__(self, subject: Subject) -> None:
        self._predictor = subject.predictor
        self._reader = subject.reader
        self._only = _only_member([member.name for member in self._predictor.outputs.members])

    def predict(self, request: bytes, _: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        rows = self._reader.instances(request) if b'"instances"' in request[:64] else None
        return self._predict_strictly(request) if rows is None else self._predictions(rows)

    def _predict_strictly(self, request: bytes) -> Prediction:
        members = self._reader.document(request, _EXAMPLE)
        if chosen(members, _FORMS, _EXAMPLE) == "instances":
            return self._predictions(self._reader.listed(members["instances"], "'instances'"))
        inputs = members["inputs"]
        if isinstance(inputs, Members):
            return self._outputs(self._reader.columns(inputs))
        return self._outputs(self._reader.listed(inputs, "'inputs'"))

    def _predictions(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        outputs = self._predictor.outputs
        values = (
            outputs.arrays(run.labels, run.scores)[self._only]
            if self._only
            else outputs.items(run.labels, run.scores)
        )
        return run.prediction(written(run.document({"predictions": values}), run.scores.size), rows)

    def _outputs(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        arrays = self._predictor.outputs.arrays(run.labels, run.scores)
        values = arrays[self._only] if self._only else arrays
        return run.prediction(written(run.document({"outputs": values}), run.scores.size), rows)


def _only_member(members: Collection[str]) -> str | None:
    """The name of the only member of an answer; None where there are several."""
    return next(iter(members)) if len(members) == 1 else None


def _describe(schemas: Schemas) -> Bodies:
    signature: dict[str, Schema] = {"signature_name": {"description": "a model has one: it may be anything"}}
    rows = schemas.rows(schemas.row, schemas.record)
    request = either(
        only({"instances": rows, **signature}, ["instances"]),
        only({"inputs": either(rows, bodies.columns(schemas)), **signature}, ["inputs"]),
    )
    first, *more = schemas.examples()
    columns = {name: [value] for name, value in schemas.named_values(first).items()}
    examples = {"rows": {"instances": [first, *more]}, "columns": {"inputs": columns}}
    member = _only_member(schemas.members)
    values = array(only(schemas.members) if member is None else schemas.members[member], 1)
    outputs = schemas.columns if member is None else values
    answer = either(schemas.flagged({"predictions": values}), schemas.flagged({"outputs": outputs}))
    return Bodies(
        "Rows in `instances` are answered one by one; `inputs`, which may be columns of any one length, "
        "as columns.",
        {media.JSON: bodies.with_examples(schemas.name("TFServingRequest", request), examples)},
        {media.JSON: {"schema": schemas.name("TFServingResponse", answer)}},
    )


def _build(subject: Subject) -> Predict:
    return TFServing(subject).predict


PROTOCOL = Protocol(
    name="tfserving",
    summary="Predict (TensorFlow Serving, KServe V1)",
    paths=lambda _: Paths(
        model="/v1/models/<name>:predict",
        version="/v1/models/<name>/versions/<version>:predict",
        label="/v1/models/<name>/labels/<label>:predict",
    ),
    build=_build,
    describe=_describe,
)
