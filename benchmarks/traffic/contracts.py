"""The contract of each server: rows -> request body, answer -> predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Rows = Sequence[Sequence[Any]]


class WrongAnswer(Exception):
    """One sentence. ``fault`` is the same for all answers that are wrong in this way, ``example`` is not."""

    def __init__(self, fault: str, example: str = "") -> None:
        super().__init__(f"{fault} ({example})" if example else fault)
        self.fault = fault


@dataclass(frozen=True)
class Predictions:
    """The labels of an answer, one per row, and its probabilities.

    ``labels``: None where the contract has none; of a regressor, the numbers. ``probabilities``: rows x
    classes, empty where the model is a regressor or has scores only.
    """

    labels: list[Any] | None
    probabilities: list[list[float]]


@dataclass(frozen=True)
class Contract:
    """The form of requests and answers.

    ``path`` leads to the only or default model, ``model_path`` to a model by name.
    ``request``: rows -> body. ``read``: body of an answer -> predictions, raises WrongAnswer.
    ``record`` and ``read_record``: the same for one row by feature name, None where there is no such form.
    ``checked``: False for a server that does nothing.
    """

    path: str
    model_path: str
    request: Callable[[Rows], bytes]
    read: Callable[[bytes], Predictions]
    record: Callable[[Mapping[str, Any]], bytes] | None = None
    read_record: Callable[[bytes], Predictions] | None = None
    checked: bool = True

    def path_of(self, model: str) -> str:
        """The path of a model; "" is the only or default one."""
        return self.model_path.format(model=model) if model else self.path


def _native_request(rows: Rows) -> bytes:
    return orjson.dumps({"features": rows[0] if len(rows) == 1 else rows})


def _read_native(content: bytes) -> Predictions:
    answer = _object(content)
    labels = _list(answer.get("prediction"), "prediction")
    if "scores" in answer or _are_numbers(answer, labels):
        return Predictions(labels, [])
    return Predictions(labels, _list(answer.get("probabilities"), "probabilities"))


def _read_native_record(content: bytes) -> Predictions:
    answer = _object(content)
    if _are_numbers(answer, [answer.get("prediction")]):
        return Predictions([answer["prediction"]], [])
    probabilities = answer.get("scores", answer.get("probabilities"))
    if "prediction" not in answer or not isinstance(probabilities, dict):
        raise WrongAnswer("the answer has no prediction and probabilities by class", _excerpt(content))
    return Predictions([answer["prediction"]], [] if "scores" in answer else [list(probabilities.values())])


def _are_numbers(answer: Mapping[str, Any], predictions: Sequence[Any]) -> bool:
    """Whether these are the numbers of a regressor, with nothing beside them: labels are no floats."""
    return "probabilities" not in answer and all(isinstance(number, float) for number in predictions)


def _v2_request(rows: Rows) -> bytes:
    tensor = {
        "name": "input-0",
        "shape": [len(rows), len(rows[0])],
        "datatype": "FP64",
        "data": [value for row in rows for value in row],
    }
    # A request for the labels as well would make the server run the pipeline twice.
    return orjson.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]})


def _read_v2(content: bytes) -> Predictions:
    outputs = _list(_object(content).get("outputs"), "outputs")
    tensors = {output.get("name"): output for output in outputs if isinstance(output, dict)}
    tensor = tensors.get("predict_proba", {})
    data, shape = tensor.get("data"), tensor.get("shape")
    if not isinstance(data, list) or not isinstance(shape, list) or len(shape) != 2:
        raise WrongAnswer("the answer has no output predict_proba (rows x classes)", _excerpt(content))
    count, width = shape
    integers = isinstance(count, int) and isinstance(width, int)
    if not integers or width < 1 or len(data) != count * width:
        raise WrongAnswer(
            "predict_proba does not have the shape that it states", f"{shape}, {len(data)} values"
        )
    probabilities = [data[start : start + width] for start in range(0, len(data), width)]
    labels = tensors["predict"].get("data") if "predict" in tensors else None
    return Predictions(None if labels is None else _list(labels, "predict"), probabilities)


def _mlflow_request(rows: Rows) -> bytes:
    return orjson.dumps({"inputs": rows})


def _read_mlflow(content: bytes) -> Predictions:
    return Predictions(None, _list(_object(content).get("predictions"), "predictions"))


def _object(content: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise WrongAnswer("the answer is not JSON", _excerpt(content)) from None
    if not isinstance(answer, dict):
        raise WrongAnswer("the answer is not a JSON object", _excerpt(content))
    return answer


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise WrongAnswer(f"the answer has no list {name!r}")
    return value


def _excerpt(content: bytes) -> str:
    return repr(content[:80].decode("utf-8", "replace"))


CONTRACTS = {
    "native": Contract(
        path="/predict",
        model_path="/models/{model}/predict",
        request=_native_request,
        read=_read_native,
        record=orjson.dumps,
        read_record=_read_native_record,
    ),
    "v2": Contract(
        path="/v2/models/model/infer",
        model_path="/v2/models/{model}/infer",
        request=_v2_request,
        read=_read_v2,
    ),
    "mlflow": Contract(
        path="/invocations", model_path="/invocations", request=_mlflow_request, read=_read_mlflow
    ),
    "floor": Contract(
        path="/predict",
        model_path="/models/{model}/predict",
        request=_native_request,
        read=lambda content: Predictions(None, []),
        checked=False,
    ),
}
