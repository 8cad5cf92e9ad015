"""Requests that have to be refused, and the status of each refusal."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.soak.forms import ARROW, CSV, JSON, MODEL

# The longest body that the server under test takes, in bytes.
LONGEST = 200_000


@dataclass(frozen=True)
class Fault:
    """One wrong request; ``route`` is None where /metrics has no route for it."""

    method: str
    path: str
    body: bytes
    status: int
    route: str | None
    kind: str = JSON


def faults(names: Sequence[str]) -> dict[str, Fault]:
    """Wrong requests by name, for a model with these features."""
    predict, infer = "/predict", f"/v2/models/{MODEL}/infer"
    v1 = f"/v1/models/{MODEL}:predict"
    width = b'{"features": [%s]}' % b", ".join([b"1"] * (len(names) + 1))
    text = b'{"features": [%s]}' % b", ".join([b'"one"'] * len(names))
    header = ",".join(names).encode()
    return {
        "no JSON": Fault("POST", predict, b"{", 400, predict),
        "nothing": Fault("POST", predict, b"", 400, predict),
        "too many numbers": Fault("POST", predict, width, 400, predict),
        "texts for numbers": Fault("POST", predict, text, 400, predict),
        "an unknown name": Fault("POST", predict, b'{"instances": [{"height": 1.0}]}', 400, predict),
        "a ragged table": Fault("POST", predict, header + b"\n1,2\n", 400, predict, CSV),
        "a cut Arrow stream": Fault("POST", predict, b"\xff\xff\xff\xff\x10\0\0\0", 400, predict, ARROW),
        "an unread kind": Fault("POST", predict, b"PAR1", 415, predict, "application/vnd.apache.parquet"),
        "a long body": Fault("POST", predict, b" " * (LONGEST + 1), 413, predict),
        "no tensor": Fault("POST", infer, b'{"inputs": []}', 400, "/v2/models/<name>/infer"),
        "no instances": Fault("POST", v1, b'{"rows": []}', 400, "/v1/models/<name>:predict"),
        "no data": Fault("POST", "/score", b'{"datas": []}', 400, "/score"),
        "no frame": Fault("POST", "/invocations", b'{"frame": []}', 400, "/invocations"),
        "no such model": Fault("POST", "/models/nobody/predict", width, 404, "/models/<name>/predict"),
        "no such path": Fault("GET", "/nowhere", b"", 404, None),
        "no such method": Fault("GET", predict, b"", 405, None),
    }
