"""What Vertex AI asks of a container's predict route.

    {"instances": [row or record, ...], "parameters": {...}}        {"predictions": [record, ...]}

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. ``parameters`` may be left
out, and change nothing here. The health route is answered as /readyz is; both routes and the port come from
Vertex AI's environment variables: see server/config.py.
"""

from unpickled.server.inference.prediction import Prediction
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message.answer import Environ
from unpickled.server.protocols.forms import chosen
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader

_EXAMPLE = '{"instances": [row, ...]}'


class Vertex:
    """Answers the predict route for one model."""

    def __init__(self, predictor: Predictor, reader: Reader, native: Native) -> None:
        self._predictor = predictor
        self._reader = reader
        self._native = native

    def predict(self, request: bytes, _: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        rows = self._reader.instances(request)
        if rows is None:
            members = self._reader.document(request, _EXAMPLE)
            if "instances" not in members:
                # Its route may be /predict, too.
                return self._native.predict(request)
            chosen(members, {"instances": ("parameters",)}, _EXAMPLE)
            rows = self._reader.listed(members["instances"], "'instances'")
        return self._predictor.predictions(rows)
