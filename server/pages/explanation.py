"""The page that explains one prediction: how much each feature of a row adds to the answer."""

from time import perf_counter

from unpickled.server.errors import InvalidInput, UnsupportedMedia
from unpickled.server.explanation.explanation import Explanation, Version, explained
from unpickled.server.inference.work import Work
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import body, media, query
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.environ import QUEUE_MS, is_multiplexed, peer
from unpickled.server.pages.page import Page
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.protocol import Subject
from unpickled.server.quote import quoted
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.routes import Routes

# Seconds to read a byte of the body by the rules in Python.
_BYTE = 500e-9
_TABLES = {media.CSV, media.ARROW, *media.TABLE_FILES, *media.JSON_LINES}


def pages(repository: Repository, routes: Routes, gate: Gate) -> list[Page]:
    """POST /models/<name>/explain, and the same of a version and of a label.

    An explanation is no prediction: no observer sees its row. It takes a turn as a batch does, so that no
    single row ever waits behind it.
    """

    def explain(environ: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        started = perf_counter()
        with repository.held(name):
            served = repository.find(name, version, label)
            subject = routes.subject(served)
        gate.in_flight.count += 1
        try:
            return document(in_turn(environ, served, subject, started))
        finally:
            gate.in_flight.count -= 1

    def in_turn(environ: Environ, served: Served, subject: Subject, started: float) -> Explanation:
        name, deadline = served.name, gate.deadline(environ, started)
        version = Version(name, served.version, served.model)
        work = Work(name, version.seconds, single=False, deadline=deadline, started=started)
        _refuse_tables(environ)
        output = _output(environ, version.noun)
        gate.admission.check(work)
        with gate.budget.share(name) as share:
            content = body.received(environ, gate.limit, share.take)
            client = "" if is_multiplexed(environ) else peer(environ)
            seconds = work.seconds + len(content) * _BYTE
            turn = gate.admission.turn(work._replace(seconds=seconds, read=perf_counter(), peer=client))
            try:
                with turn:
                    encoding = environ.get("HTTP_CONTENT_ENCODING")
                    if encoding:
                        content = body.expanded(content, encoding, gate.limit, share.take, turn.breathe)
                    return of_body(content, served, subject, output)
            finally:
                environ[QUEUE_MS] = round(1000 * turn.waited, 3)

    def of_body(content: bytes, served: Served, subject: Subject, output: str | None) -> Explanation:
        row = Native(subject.predictor, subject.reader).only_row(content)
        ranges = subject.predictor.ranges and subject.predictor.ranges.uncounted()
        return explained(Version(served.name, served.version, served.model, ranges), row, output)

    rules = {
        "/models/<name>/explain": "Explain a prediction: how much each feature of a row adds to the answer",
        "/models/<name>/versions/<version>/explain": "Explain a prediction of a version",
        "/models/<name>/labels/<label>/explain": "Explain a prediction of a label's version",
    }
    return [
        Page(
            "POST",
            rule,
            summary,
            explain,
            Explanation,
            errors=(400, 408, 411, 413, 415, 422, 504),
            takes_row=True,
        )
        for rule, summary in rules.items()
    ]


def _refuse_tables(environ: Environ) -> None:
    kind, _ = body.media_type(environ)
    if kind in _TABLES:
        raise UnsupportedMedia(
            f"Content-Type is {quoted(kind)}, but an explanation is of one row: send it as JSON"
        )


def _output(environ: Environ, noun: str) -> str | None:
    """The output that the query names; InvalidInput where models of this kind have none of its noun."""
    [other] = {"class", "target"} - {noun}
    if query.given(environ, other) is not None:
        raise InvalidInput(
            f"the query names a {other}, and an answer of this model is that of a {noun}: send ?{noun}="
        )
    return query.given(environ, noun)
