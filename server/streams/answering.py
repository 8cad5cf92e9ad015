"""The answers to messages: each is answered as POST /predict answers its body, by the same endpoints.

A model, its versions, their shares of traffic, shadows, limits, errors and counts are thus those of a server.
In an answer four more members follow those of /predict: ``id`` of the message, ``model`` and ``version``, and
``prediction_id`` where the prediction is logged.
"""

from io import BytesIO
from typing import NamedTuple

from unpickled.server.errors import NotReady
from unpickled.server.message import strict
from unpickled.server.message.answer import Environ, dumps
from unpickled.server.observe.streamed import ANSWERED, FAILED, REFUSED, UNREADABLE
from unpickled.server.protocols import native
from unpickled.server.protocols.protocol import Paths, Protocol
from unpickled.server.service import Service
from unpickled.server.streams.broker import Message

# The one route of a process that consumes: metrics and the payload log have it in place of a path.
ROUTE = "consume"
# The code of a message without a body.
_UNREADABLE = "unreadable"
_MALFORMED = b'"code":"malformed_json"'
# The words of an error over HTTP -> those of one about a message.
_WORDS = {
    b"the body": b"the message",
    strict.SENT.encode(): b"",
    strict.ENCODED.encode(): b"send it as it is",
    b"send fewer rows per request": b"send fewer rows in each",
}


class Reply(NamedTuple):
    """The answer to a message: ``document`` is a JSON object, the answer or an error."""

    outcome: str
    document: bytes


def routes() -> list[tuple[Protocol, Paths]]:
    """The protocol that messages are in: one request each, to the default model."""
    return [(native.PROTOCOL._replace(by_type={}, lines=None), Paths(default=ROUTE))]


class Answering:
    """Answers messages with the default model of a service that was built with ``routes()``."""

    def __init__(self, service: Service) -> None:
        self._routes = service.routes
        self._repository = service.repository
        self._key = "HTTP_" + service.config.traffic.key_header.upper().replace("-", "_")
        # Model and version -> the members that name them.
        self._names: dict[tuple[str, str], bytes] = {}

    def answer(self, message: Message) -> Reply:
        """The answer to a message, or the error for it; NotReady while no version can answer."""
        if message.fault:
            document = dumps({"error": message.fault, "code": _UNREADABLE, "id": message.id})
            return Reply(UNREADABLE, document)
        target = self._routes.targets.get(ROUTE)
        if target is None:
            raise NotReady(self._reason())
        status, headers, content = target(self._environ(message))
        document = content if isinstance(content, bytes) else b"".join(content)
        outcome = _outcome(status, document)
        if outcome != ANSWERED:
            document = _of_message(document)
        return Reply(outcome, self._completed(document, message, dict(headers)))

    def _environ(self, message: Message) -> Environ:
        """The message as a request."""
        environ: Environ = {
            "wsgi.input": BytesIO(message.body),
            "CONTENT_LENGTH": str(len(message.body)),
        }
        if message.key:
            # Headers are text of this kind: a key leads to the same version as it does over HTTP.
            environ[self._key] = message.key.encode().decode("latin-1")
        return environ

    def _completed(self, document: bytes, message: Message, headers: dict[str, str]) -> bytes:
        """A document with the members of all answers."""
        version = headers["Model-Name"], headers["Model-Version"]
        names = self._names.get(version)
        if names is None:
            names = self._names[version] = b',"model":%b,"version":%b' % (
                # The name of a folder may hold bytes that are not UTF-8.
                dumps(version[0].encode("utf-8", "replace").decode()),
                version[1].encode(),
            )
        identity = headers.get("Prediction-Id")
        more = b"" if identity is None else b',"prediction_id":%b' % dumps(identity)
        return b'%b,"id":%b%b%b}' % (document[:-1], dumps(message.id), names, more)

    def _reason(self) -> str:
        name = self._repository.default
        deployment = self._repository.deployments.get(name or "")
        return deployment.sentence if deployment else "there is no model to answer with"


def _of_message(document: bytes) -> bytes:
    """The document of an error with the words for a message in place of those for a request."""
    for request, message in _WORDS.items():
        document = document.replace(request, message, 1)
    return document


def _outcome(status: str, document: bytes) -> str:
    if status.startswith("2"):
        return ANSWERED
    if status.startswith("5"):
        return FAILED
    return UNREADABLE if _MALFORMED in document else REFUSED
