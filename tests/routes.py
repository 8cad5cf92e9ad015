"""One table asked for over every route: the probabilities that each answers."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import tritonclient.http as triton
from flask.testing import FlaskClient

Cells = Mapping[str, Sequence[Any]]


def answers(client: FlaskClient, model: str, cells: Cells, table: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """(route, probabilities (rows, classes)) of every route.

    Args:
        client: Talks to the server, which has no other model.
        model: The name of the model.
        cells: The values of every column, as JSON has them.
        table: The same rows as CSV, as their file has them.
    """
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    for route, (path, body, kind, read) in _requests(model, cells, rows, table).items():
        answer = client.post(path.format(model), data=body, content_type=kind)
        assert answer.status_code == 200, (route, answer.text)
        yield route, np.array(read(answer.data), dtype=float)
    yield "V2, binary", _binary(client, model, cells)


def _requests(
    model: str, cells: Cells, rows: Sequence[Mapping[str, Any]], table: bytes
) -> dict[str, tuple[str, bytes, str, Callable[[bytes], Any]]]:
    """Path, body, content type, and the reader of the answer, of each route."""
    columns, data = list(cells), [list(row.values()) for row in rows]
    split = {"columns": columns, "data": data}
    documents: dict[str, tuple[str, Any, Callable[[bytes], Any]]] = {
        "records": ("/predict", {"instances": rows}, _records),
        "Vertex": ("/vertex", {"instances": rows}, _records),
        "V1 rows": ("/v1/models/{}:predict", {"instances": rows}, _rows_of("predictions")),
        "V1 columns": (
            "/v1/models/{}:predict",
            {"inputs": cells},
            lambda body: _json(body)["outputs"]["probabilities"],
        ),
        "MLflow split": ("/invocations", {"dataframe_split": split}, _arrays),
        "MLflow records": ("/invocations", {"dataframe_records": rows}, _arrays),
        "MLflow inputs": ("/invocations", {"inputs": cells}, _arrays),
        "Azure": ("/score", {"data": rows, "method": "predict_proba"}, _json),
        "Azure inputs": (
            "/score",
            {"Inputs": {"data": rows}, "GlobalParameters": {"method": "predict_proba"}},
            lambda body: _json(body)["Results"],
        ),
        "V2": ("/v2/models/{}/infer", {"inputs": _tensors(cells)}, _tensor),
    }
    requests = {
        route: (path, json.dumps(document).encode(), "application/json", read)
        for route, (path, document, read) in documents.items()
    }
    lines = "\n".join(map(json.dumps, rows)).encode()
    requests["CSV"] = ("/predict", table, "text/csv", _csv)
    frame = pl.DataFrame({name: pl.Series(column) for name, column in cells.items()})
    stream = frame.write_ipc_stream(None).getvalue()
    requests["Arrow"] = ("/predict", stream, "application/vnd.apache.arrow.stream", _arrow)
    requests["CSV of SageMaker"] = ("/invocations", table, "text/csv", _csv)
    requests["lines"] = ("/predict", lines, "application/x-ndjson", _lines)
    requests["lines of SageMaker"] = ("/invocations", lines, "application/jsonlines", _lines)
    return requests


def _json(body: bytes) -> Any:
    return json.loads(body)


def _records(body: bytes) -> list[list[float]]:
    return [list(record["probabilities"].values()) for record in _json(body)["predictions"]]


def _rows_of(member: str) -> Callable[[bytes], list[list[float]]]:
    return lambda body: [record["probabilities"] for record in _json(body)[member]]


def _arrays(body: bytes) -> Any:
    return _json(body)["probabilities"]


def _lines(body: bytes) -> list[list[float]]:
    return [list(_json(line)["probabilities"].values()) for line in body.splitlines()]


def _csv(body: bytes) -> list[list[str]]:
    text = body.decode()
    separator = next(mark for mark in ",;\t" if mark in text.splitlines()[0])
    cells = list(csv.reader(io.StringIO(text), delimiter=separator))
    has_header = cells[0][0] == "prediction"
    return [row[2:] for row in cells[has_header:]]


def _arrow(body: bytes) -> list[tuple[float, ...]]:
    return pl.read_ipc_stream(body)[:, 2:].rows()


def _tensor(body: bytes) -> np.ndarray:
    tensor = next(each for each in _json(body)["outputs"] if each["name"] == "probabilities")
    return np.array(tensor["data"]).reshape(tensor["shape"])


def _tensors(cells: Cells) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [len(column)], "datatype": _datatype(column), "data": list(column)}
        for name, column in cells.items()
    ]


def _datatype(column: Sequence[Any]) -> str:
    if any(isinstance(value, str) for value in column):
        return "BYTES"
    return "BOOL" if all(isinstance(value, bool) for value in column) else "FP64"


def _binary(client: FlaskClient, model: str, cells: Cells) -> np.ndarray:
    """The answer to tensors of bytes, in which an empty text is a missing one."""
    inputs = []
    for name, column in cells.items():
        datatype = _datatype(column)
        tensor = triton.InferInput(name, [len(column)], datatype)
        tensor.set_data_from_numpy(_array(column, datatype))
        inputs.append(tensor)
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    body, length = triton.InferenceServerClient.generate_request_body(inputs, outputs=outputs)
    headers = {"Inference-Header-Content-Length": str(length)}
    answer = client.post(f"/v2/models/{model}/infer", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return _tensor(answer.data)


def _array(column: Sequence[Any], datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array(["" if value is None else str(value) for value in column], dtype=object)
    return np.array(
        [np.nan if value is None else value for value in column], bool if datatype == "BOOL" else float
    )
