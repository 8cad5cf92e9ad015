"""One table asked for over every route: its answers, and the probabilities or numbers in them."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any

import numpy as np
import polars as pl
import tritonclient.http as triton
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

Cells = Mapping[str, Sequence[Any]]


def answers(
    client: FlaskClient, model: str, cells: Cells, table: bytes, *, member: str = "probabilities"
) -> Iterator[tuple[str, np.ndarray]]:
    """(route, probabilities (rows, classes) or predicted numbers (rows, targets)) of every route.

    Args:
        client: Talks to the server, which has no other model.
        model: The name of the model.
        cells: The values of every column, as JSON has them.
        table: The same rows as CSV, as their file has them.
        member: The member of an answer that is read; "prediction" of a regressor.
    """
    rows = len(next(iter(cells.values())))
    for route, answer, read in exchanges(client, model, cells, table, member=member):
        assert answer.status_code == 200, (route, answer.text)
        yield route, np.array(read(answer.data), dtype=float).reshape(rows, -1)


def exchanges(
    client: FlaskClient, model: str, cells: Cells, table: bytes, *, member: str = "probabilities"
) -> Iterator[tuple[str, TestResponse, Callable[[bytes], Any]]]:
    """(route, answer, the reader of its body) of every route; arguments as those of ``answers``."""
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    for route, (path, body, kind, read) in _requests(model, cells, rows, table, member).items():
        yield route, client.post(path.format(model), data=body, content_type=kind), read
    yield "V2, binary", _binary(client, model, cells, member), _tensor(member)


def _requests(
    model: str, cells: Cells, rows: Sequence[Mapping[str, Any]], table: bytes, member: str
) -> dict[str, tuple[str, bytes, str, Callable[[bytes], Any]]]:
    """Path, body, content type, and the reader of the answer, of each route."""
    of_classes = member == "probabilities"
    method, before = ("predict_proba", 2) if of_classes else ("predict", 0)
    columns, data = list(cells), [list(row.values()) for row in rows]
    split = {"columns": columns, "data": data}
    documents: dict[str, tuple[str, Any, Callable[[bytes], Any]]] = {
        "records": ("/predict", {"instances": rows}, _records(member)),
        "Vertex": ("/vertex", {"instances": rows}, _records(member)),
        "V1 rows": (
            "/v1/models/{}:predict",
            {"instances": rows},
            _rows_of("predictions", member) if of_classes else _of("predictions"),
        ),
        "V1 columns": (
            "/v1/models/{}:predict",
            {"inputs": cells},
            _of("outputs", member) if of_classes else _of("outputs"),
        ),
        "Azure": ("/score", {"data": rows, "method": method}, _json),
        "Azure inputs": (
            "/score",
            {"Inputs": {"data": rows}, "GlobalParameters": {"method": method}},
            _of("Results"),
        ),
        "V2": ("/v2/models/{}/infer", {"inputs": _tensors(cells)}, _tensor(member)),
    }
    arrays = _of(member if of_classes else "predictions")
    documents |= {
        "MLflow split": ("/invocations", {"dataframe_split": split}, arrays),
        "MLflow records": ("/invocations", {"dataframe_records": rows}, arrays),
        "MLflow inputs": ("/invocations", {"inputs": cells}, arrays),
    }
    requests = {
        route: (path, json.dumps(document).encode(), "application/json", read)
        for route, (path, document, read) in documents.items()
    }
    lines = "\n".join(map(json.dumps, rows)).encode()
    requests["CSV"] = ("/predict", table, "text/csv", _csv(before))
    frame = pl.DataFrame({name: pl.Series(column) for name, column in cells.items()})
    stream = frame.write_ipc_stream(None).getvalue()
    requests["Arrow"] = ("/predict", stream, "application/vnd.apache.arrow.stream", _arrow(before))
    requests["CSV of SageMaker"] = ("/invocations", table, "text/csv", _csv(before))
    requests["lines"] = ("/predict", lines, "application/x-ndjson", _lines(member))
    requests["lines of SageMaker"] = ("/invocations", lines, "application/jsonlines", _lines(member))
    return requests


def _json(body: bytes) -> Any:
    return json.loads(body)


def _of(*members: str) -> Callable[[bytes], Any]:
    """Reads a member of a document, or a member of a member."""
    return lambda body: reduce(getitem, members, _json(body))


def _record(record: Mapping[str, Any], member: str) -> list[float]:
    """A member of a record, in which one score stands alone, and several have names."""
    value = record[member]
    return list(value.values()) if isinstance(value, dict) else [value]


def _records(member: str) -> Callable[[bytes], list[list[float]]]:
    return lambda body: [_record(record, member) for record in _json(body)["predictions"]]


def _rows_of(name: str, member: str) -> Callable[[bytes], list[list[float]]]:
    return lambda body: [record[member] for record in _json(body)[name]]


def _lines(member: str) -> Callable[[bytes], list[list[float]]]:
    return lambda body: [_record(_json(line), member) for line in body.splitlines()]


def _csv(before: int) -> Callable[[bytes], list[list[str]]]:
    """Reads a table, ``before`` of whose columns stand before the scores."""

    def read(body: bytes) -> list[list[str]]:
        text = body.decode()
        separator = next((mark for mark in ",;\t" if mark in text.splitlines()[0]), ",")
        cells = list(csv.reader(io.StringIO(text), delimiter=separator))
        has_header = cells[0][0].startswith("prediction")
        return [row[before:] for row in cells[has_header:]]

    return read


def _arrow(before: int) -> Callable[[bytes], list[tuple[float, ...]]]:
    return lambda body: pl.read_ipc_stream(body)[:, before:].rows()


def _tensor(member: str) -> Callable[[bytes], np.ndarray]:
    def read(body: bytes) -> np.ndarray:
        tensor = next(each for each in _json(body)["outputs"] if each["name"] == member)
        return np.array(tensor["data"]).reshape(tensor["shape"])

    return read


def _tensors(cells: Cells) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [len(column)], "datatype": _datatype(column), "data": list(column)}
        for name, column in cells.items()
    ]


def _datatype(column: Sequence[Any]) -> str:
    if any(isinstance(value, str) for value in column):
        return "BYTES"
    return "BOOL" if all(isinstance(value, bool) for value in column) else "FP64"


def _binary(client: FlaskClient, model: str, cells: Cells, member: str) -> TestResponse:
    """The answer to tensors of bytes, in which an empty text is a missing one."""
    inputs = []
    for name, column in cells.items():
        datatype = _datatype(column)
        tensor = triton.InferInput(name, [len(column)], datatype)
        tensor.set_data_from_numpy(_array(column, datatype))
        inputs.append(tensor)
    outputs = [triton.InferRequestedOutput(member, binary_data=False)]
    body, length = triton.InferenceServerClient.generate_request_body(inputs, outputs=outputs)
    headers = {"Inference-Header-Content-Length": str(length)}
    return client.post(f"/v2/models/{model}/infer", data=body, headers=headers)


def _array(column: Sequence[Any], datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array(["" if value is None else str(value) for value in column], dtype=object)
    return np.array(
        [np.nan if value is None else value for value in column], bool if datatype == "BOOL" else float
    )
