"""The requests and answers of Azure Machine Learning's scoring scripts, at /score.

    {"data": rows}                                  the tutorials' script             [0, 1]
    {"input_data": {"columns", "index", "data"}}    an MLflow model without a script  [0, 1]
    {"Inputs": {"data": rows},                      automated machine learning        {"Results": [0, 1]}
     "GlobalParameters": {"method": "predict"}}
    {"Inputs": {"input1": rows}}                    the designer                      {"Results": {
                                                                  "WebServiceOutput0": [record, ...]}}

Labels are the classes, not their names; a regressor answers its numbers in their place. Rows are arrays,
records, or {feature name: [values, ...]}. The method "predict_proba", which may stand beside "data" too,
answers the scores of each row, not its label. Everything else is the native protocol.

https://learn.microsoft.com/en-us/azure/machine-learning/how-to-deploy-mlflow-models-online-endpoints,
https://learn.microsoft.com/en-us/azure/machine-learning/how-to-deploy-online-endpoints,
https://learn.microsoft.com/en-us/azure/machine-learning/how-to-deploy-automl-endpoint.
"""

from collections.abc import Collection, Sequence

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.writing import written
from unpickled.server.message import media
from unpickled.server.message.answer import Environ
from unpickled.server.message.jsonschema import Schema, array, either, only
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Row
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols import bodies, native
from unpickled.server.protocols.bodies import Bodies
from unpickled.server.protocols.forms import chosen, is_form, refuse_repeated, split
from unpickled.server.protocols.native import predict_native
from unpickled.server.protocols.protocol import Paths, Protocol, Subject
from unpickled.server.quote import quoted

_FORMS = {"data": ("method",), "input_data": ("params",), "Inputs": ("GlobalParameters",)}
_SIGNS = tuple(f'"{name}"'.encode() for name in _FORMS)
_EXAMPLE = '{"data": [row, ...]}, {"input_data": {"columns", "data"}} or {"Inputs": {"data": [row, ...]}}'
# The designer's name for the table in an answer.
_OUTPUT = "WebServiceOutput0"


class Azure:
    """Answers /score for one model."""

    def __init__(self, subject: Subject) -> None:
        self._predictor = subject.predictor
        self._reader = subject.reader
        self._predict_native = predict_native(subject)

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        if not any(sign in request for sign in _SIGNS):
            return self._predict_native(request, environ)
        members = self._reader.document(request, _EXAMPLE)
        if not is_form(members, _FORMS, self._predictor):
            return self._predict_native(request, environ)
        form = chosen(members, _FORMS, _EXAMPLE)
        if form == "Inputs":
            return self._results(members[form], members.get("GlobalParameters"))
        rows = self._rows(members[form], f"{form!r}")
        return self._answers(rows, members.get("method", "predict"))

    def _results(self, inputs: object, parameters: object) -> Prediction:
        if not isinstance(inputs, Members) or len(inputs) != 1 or inputs.repeated:
            raise InvalidInput(f"'Inputs' is not an object of one table: send {_EXAMPLE}")
        [(name, table)] = inputs.items()
        rows = self._rows(table, f"{quoted(name)} of 'Inputs'")
        method: object = "predict"
        if isinstance(parameters, Members):
            refuse_repeated(parameters, "'GlobalParameters'")
            method = parameters.get("method", method)
        if name == "data":
            prediction = self._answers(rows, method)
            prediction.content = b'{"Results":' + prediction.content + b"}"
            return prediction.noted()
        if method != "predict":
            raise InvalidInput(f"'method' stands beside {quoted(name)}: it is for \"data\" in 'Inputs'")
        run = self._predictor.run(rows)
        results = {_OUTPUT: self._predictor.outputs.records(run.labels, run.scores)}
        return run.prediction(written(run.document({"Results": results}), run.scores.size), rows)

    def _rows(self, table: object, place: str) -> Sequence[Row]:
        if not isinstance(table, Members):
            return self._reader.listed(table, place)
        if "data" in table and set(table) != set(self._predictor.signature.names):
            return split(self._reader, table, place)
        return self._reader.columns(table)

    def _answers(self, rows: Sequence[Row], method: object) -> Prediction:
        """The answer with the list that this method of the pipeline would return."""
        outputs = self._predictor.outputs
        if not isinstance(method, str) or method not in outputs.methods:
            raise InvalidInput(
                f"'method' is {quoted(method)}, but this model answers {_answered(outputs.methods)}"
            )
        run = self._predictor.run(rows)
        arrays = outputs.arrays(run.labels, run.scores)
        return run.prediction(written(arrays[outputs.methods[method]], run.scores.size), rows)


def _answered(methods: Collection[str]) -> str:
    """The methods that a model answers, in words."""
    words = " or ".join(f"'{method}'" for method in methods)
    return words if "predict_proba" in methods else f"{words} only: it has no probabilities"


def _describe(schemas: Schemas) -> Bodies:
    forms = either(*native.forms(schemas), *_azure_forms(schemas))
    results = either(*(array(schemas.members[member], 1) for member in schemas.methods.values()))
    records = only({_OUTPUT: array(schemas.answer, 1)})
    answer = either(*native.answers(schemas), results, schemas.flagged({"Results": either(results, records)}))
    rows = schemas.examples()
    examples = {
        "data": {"data": rows},
        "Inputs": {"Inputs": {"data": [schemas.named_values(row) for row in rows]}},
    }
    return Bodies(
        "`data` and `input_data` are answered with the predictions alone, or with what `method` names; "
        "columns may be in any order and of any one length.",
        {
            media.JSON: bodies.with_examples(
                schemas.name("AzureRequest", forms), native.examples(schemas) | examples
            )
        },
        {media.JSON: {"schema": schemas.name("AzureResponse", answer)}},
    )


def _azure_forms(schemas: Schemas) -> list[Schema]:
    """The forms of scoring scripts, MLflow models, automated machine learning and the designer."""
    method: Schema = {"enum": list(schemas.methods)}
    rows = schemas.rows(schemas.row, schemas.record)
    table = schemas.name("AzureTable", either(rows, bodies.split(schemas), bodies.columns(schemas)))
    options: dict[str, Schema] = {"GlobalParameters": {"properties": {"method": method}}}
    return [
        only({"data": table, "method": method}, ["data"]),
        only({"input_data": table, "params": {}}, ["input_data"]),
        only({"Inputs": only({"data": table}), **options}, ["Inputs"]),
        only({"Inputs": _designed(table), "GlobalParameters": {}}, ["Inputs"]),
    ]


def _designed(table: Schema) -> Schema:
    """A table under any name but "data": users of the designer choose it."""
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"pattern": "^(?!data$)"},
        "additionalProperties": table,
    }


def _build(subject: Subject) -> Predict:
    return Azure(subject).predict


PROTOCOL = Protocol(
    name="azure",
    summary="Predict (Azure Machine Learning)",
    paths=lambda _: Paths(default="/score"),
    build=_build,
    describe=_describe,
)
