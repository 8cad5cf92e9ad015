"""The same rows in every protocol, and the readers of the answers."""

import csv
import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

Floats = npt.NDArray[np.float64]
# Rows -> body, and content -> (labels or None, probabilities (rows, classes) or None).
Write = Callable[[Floats], bytes]
Read = Callable[[bytes], tuple[list[Any] | None, Floats | None]]

MODEL = "model"
JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
# Paths and the routes under which /metrics counts them.
VERTEX = "/vertex"


@dataclass(frozen=True)
class Form:
    """One way to ask; ``route`` is its name in /metrics, ``one`` allows a single row only.

    ``by_row``: each row is counted as a request.
    """

    path: str
    route: str
    write: Write
    read: Read
    kind: str = JSON
    headers: Callable[[bytes], Mapping[str, str]] = field(default=lambda body: {})
    one: bool = False
    by_row: bool = False


def forms(names: Sequence[str]) -> dict[str, Form]:
    """Every form by its name, for a classifier with these features."""
    native, invocations = ("/predict", "/predict"), ("/invocations", "/invocations")
    v1 = (f"/v1/models/{MODEL}:predict", "/v1/models/<name>:predict")
    v2 = (f"/v2/models/{MODEL}/infer", "/v2/models/<name>/infer")
    by_name = (f"/models/{MODEL}/predict", "/models/<name>/predict")

    def records(rows: Floats) -> list[dict[str, float]]:
        return [dict(zip(names, row, strict=True)) for row in rows.tolist()]

    def columns(rows: Floats) -> dict[str, list[float]]:
        return dict(zip(names, rows.T.tolist(), strict=True))

    def split(rows: Floats) -> dict[str, Any]:
        return {"columns": list(names), "data": rows.tolist()}

    def lines(rows: Floats) -> bytes:
        return b"".join(orjson.dumps({"features": row}) + b"\n" for row in rows.tolist())

    def table(rows: Floats) -> bytes:
        return f"{','.join(names)}\n".encode() + _cells(rows)

    def arrow(rows: Floats) -> bytes:
        import pyarrow as pa

        batch = pa.table(columns(rows))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_table(batch)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def document(make: Callable[[Floats], Any]) -> Write:
        return lambda rows: orjson.dumps(make(rows))

    proba = {"method": "predict_proba"}
    return {
        "arrays": Form(*native, document(lambda rows: {"features": rows.tolist()}), _arrays),
        "one row": Form(*by_name, document(lambda rows: {"features": rows[0].tolist()}), _arrays, one=True),
        "record": Form(*native, document(lambda rows: records(rows)[0]), _record, one=True),
        "instances": Form(*by_name, document(lambda rows: {"instances": records(rows)}), _records),
        "compressed": Form(
            *native,
            lambda rows: gzip.compress(orjson.dumps({"features": rows.tolist()}), 1),
            _arrays,
            headers=lambda body: {"Content-Encoding": "gzip"},
        ),
        "CSV": Form(*native, table, _table, CSV),
        "Arrow": Form(*native, arrow, _arrow, ARROW),
        "lines": Form(*native, lines, _lines, "application/x-ndjson", by_row=True),
        "V1 rows": Form(*v1, document(lambda rows: {"instances": records(rows)}), _records),
        "V1 columns": Form(*v1, document(lambda rows: {"inputs": columns(rows)}), _columns),
        "V2": Form(*v2, document(lambda rows: {"inputs": [_tensor(rows)]}), _tensors),
        "V2 binary": Form(*v2, _binary, _tensors, "application/octet-stream", _header_length),
        "Vertex": Form(VERTEX, VERTEX, document(lambda rows: {"instances": records(rows)}), _records),
        "Azure": Form("/score", "/score", document(lambda rows: {"data": records(rows), **proba}), _plain),
        "Azure inputs": Form(
            "/score",
            "/score",
            document(lambda rows: {"Inputs": {"data": records(rows)}, "GlobalParameters": proba}),
            _results,
        ),
        "MLflow split": Form(*invocations, document(lambda rows: {"dataframe_split": split(rows)}), _mlflow),
        "MLflow records": Form(
            *invocations, document(lambda rows: {"dataframe_records": records(rows)}), _mlflow
        ),
        "MLflow inputs": Form(*invocations, document(lambda rows: {"inputs": columns(rows)}), _mlflow),
        "SageMaker CSV": Form(*invocations, _cells, _table, CSV),
        "SageMaker lines": Form(*invocations, lines, _record_lines, "application/jsonlines"),
    }


def _cells(rows: Floats) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


def _tensor(rows: Floats) -> dict[str, Any]:
    return {"name": "numbers", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}


def _binary(rows: Floats) -> bytes:
    data = rows.astype("<f8").tobytes()
    tensor = _tensor(rows) | {"parameters": {"binary_data_size": len(data)}}
    del tensor["data"]
    # The answer stays JSON.
    return orjson.dumps({"inputs": [tensor]}) + data


def _header_length(body: bytes) -> dict[str, str]:
    return {"Inference-Header-Content-Length": str(body.index(b"}]}") + 3)}


def _arrays(content: bytes) -> tuple[list[Any], Floats]:
    answer = orjson.loads(content)
    return answer["prediction"], np.array(answer["probabilities"])


def _record(content: bytes) -> tuple[list[Any], Floats]:
    return _of_records([orjson.loads(content)])


def _records(content: bytes) -> tuple[list[Any], Floats]:
    return _of_records(orjson.loads(content)["predictions"])


def _of_records(records: Sequence[Mapping[str, Any]]) -> tuple[list[Any], Floats]:
    shares = [record["probabilities"] for record in records]
    rows = [list(row.values()) if isinstance(row, dict) else row for row in shares]
    return [record["prediction"] for record in records], np.array(rows)


def _columns(content: bytes) -> tuple[list[Any], Floats]:
    outputs = orjson.loads(content)["outputs"]
    return outputs["prediction"], np.array(outputs["probabilities"])


def _lines(content: bytes) -> tuple[list[Any], Floats]:
    answers = [orjson.loads(line) for line in content.splitlines()]
    labels = [answer["prediction"][0] for answer in answers]
    return labels, np.array([answer["probabilities"][0] for answer in answers])


def _record_lines(content: bytes) -> tuple[list[Any], Floats]:
    return _of_records([orjson.loads(line) for line in content.splitlines()])


def _table(content: bytes) -> tuple[list[Any], Floats]:
    rows = [row for row in csv.reader(io.StringIO(content.decode())) if row[0] != "prediction"]
    return [int(row[0]) for row in rows], np.array([row[2:] for row in rows], float)


def _arrow(content: bytes) -> tuple[list[Any], Floats]:
    import pyarrow as pa

    table = pa.ipc.open_stream(content).read_all()
    shares = [table.column(name).to_numpy() for name in table.column_names[2:]]
    labels: list[Any] = table.column(0).to_pylist()
    return labels, np.array(shares).T


def _tensors(content: bytes) -> tuple[list[Any], Floats]:
    outputs = {each["name"]: each for each in orjson.loads(content)["outputs"]}
    shares = outputs["probabilities"]
    return outputs["label"]["data"], np.array(shares["data"]).reshape(shares["shape"])


def _plain(content: bytes) -> tuple[None, Floats]:
    return None, np.array(orjson.loads(content))


def _results(content: bytes) -> tuple[None, Floats]:
    return None, np.array(orjson.loads(content)["Results"])


def _mlflow(content: bytes) -> tuple[list[Any], Floats]:
    answer = orjson.loads(content)
    return answer["predictions"], np.array(answer["probabilities"])
