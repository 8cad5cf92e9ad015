"""The predict route that Vertex AI expects of a container.

    {"instances": [row or record, ...], "parameters": {...}}        {"predictions": [record, ...]}

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. ``parameters`` may be left
out, and have no effect. The health route gives the answer of /readyz; both routes and the port come from
Vertex AI's environment variables: see server/config.py.
"""

from unpickled.server.config import Config
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.message import media
from unpickled.server.message.answer import Environ
from unpickled.server.message.jsonschema import array, only
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols import bodies, native
from unpickled.server.protocols.bodies import Bodies
from unpickled.server.protocols.forms import chosen
from unpickled.server.protocols.native import TABLES, predict_native
from unpickled.server.protocols.protocol import Paths, Protocol, Subject

_EXAMPLE = '{"instances": [row, ...]}'


class Vertex:
    """Answers the predict route for one model."""

    def __init__(self, subject: Subject) -> None:
        self._predictor = subject.predictor
        self._reader = subject.reader
        self._predict_native = predict_native(subject)

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        rows = self._reader.instances(request)
        if rows is None:
            members = self._reader.document(request, _EXAMPLE)
            if "instances" not in members:
                # predict_route may be /predict: answer its clients too.
                return self._predict_native(request, environ)
            chosen(members, {"instances": ("parameters",)}, _EXAMPLE)
            rows = self._reader.listed(members["instances"], "'instances'")
        return self._predictor.predictions(rows)


def _describe(schemas: Schemas) -> Bodies:
    rows = schemas.rows(schemas.row, schemas.record)
    request = only({"instances": rows, "parameters": {"description": "change nothing here"}}, ["instances"])
    examples = {"rows": {"instances": schemas.examples()}}
    return Bodies(
        "One record is answered for each row.",
        {
            media.JSON: bodies.with_examples(schemas.name("VertexRequest", request), examples),
            **native.other_requests(schemas),
        },
        {
            media.JSON: {"schema": schemas.flagged({"predictions": array(schemas.answer, 1)})},
            **native.OTHER_ANSWERS,
        },
    )


def _paths(config: Config) -> Paths | None:
    return Paths(default=config.traffic.predict_route) if config.traffic.predict_route else None


def _build(subject: Subject) -> Predict:
    return Vertex(subject).predict


# predict_route may be /predict: the protocol reads all that the native one reads.
PROTOCOL = Protocol(
    name="vertex",
    summary="Predict (Vertex AI)",
    paths=_paths,
    build=_build,
    describe=_describe,
    by_type=TABLES,
    lines=predict_native,
)
