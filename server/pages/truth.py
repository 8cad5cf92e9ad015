"""The page that takes what turned out to be true of earlier predictions."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from unpickled.server.errors import TruthOff
from unpickled.server.inference.work import Work
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message import body, media
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.pages.annotations import Count
from unpickled.server.pages.page import Page
from unpickled.server.serve.gate import Gate
from unpickled.server.truth import reports
from unpickled.server.truth.ledger import STATUSES, Ledger, Outcome, Status
from unpickled.server.truth.reports import Report

# Bytes of the longest body that needs no turn, and seconds that a byte of it takes.
_BRIEF, _BYTE = 4096, 500e-9


class TruthReport(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The truth about one row that was predicted.

    ``id`` is its Prediction-Id, with a colon and the row (from 0) where the request had several. ``truth`` is
    the label or the name of a class, or a number; of several targets, a list or an object. ``at`` may say, by
    ISO 8601, when it became known.
    """

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    truth: Any
    at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | UnsetType = UNSET


class TruthResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The status of one report, and perhaps a reason.

    accepted: joined with its prediction. repeated: the same once more. contradicting: the first truth
    stands. refused: it is no truth of this model. late: the server does not remember the prediction any
    more. unknown: it knows no such id, or no such row of it. kept: stored for the join with the payload log.
    """

    id: str
    status: Status
    reason: str | UnsetType = UNSET


class TruthTaken(Struct, frozen=True, kw_only=True):
    """How many reports have each status, and each of them, in the order of the request."""

    accepted: Count
    repeated: Count
    contradicting: Count
    refused: Count
    late: Count
    unknown: Count
    kept: Count
    results: list[TruthResult]


def pages(repository: Repository, ledger: Ledger, gate: Gate) -> list[Page]:
    """POST /models/<name>/truth."""

    def truth(environ: Environ, name: str) -> Answer:
        # An unknown model is the first thing to be told.
        repository.find(name)
        if not ledger.is_open:
            raise TruthOff(
                "this server takes no truth: set truth_rows above 0, or log_share for a payload log"
            )
        with gate.budget.share(name) as share:
            content = body.received(environ, gate.limit, share.take)
            encoding = environ.get("HTTP_CONTENT_ENCODING")
            if encoding:
                content = body.expanded(content, encoding, gate.limit, share.take)
            read = read_in_turn(content, environ, name)
        return document(_taken(read, ledger.take(repository.deployment(name), read)))

    def read_in_turn(content: bytes, environ: Environ, name: str) -> list[Report]:
        most = repository.config.limits.max_rows
        if len(content) <= _BRIEF:
            return reports.read(content, environ, most)
        with gate.admission.turn(Work(name, len(content) * _BYTE, single=False)):
            return reports.read(content, environ, most)

    return [
        Page(
            "POST",
            "/models/<name>/truth",
            "Report what turned out to be true of predictions, by their ids",
            truth,
            TruthTaken,
            errors=(400, 408, 411, 413, 415, 504),
            request=list[TruthReport] | TruthReport,
            kinds=(media.NDJSON, media.CSV),
        )
    ]


def _taken(read: Sequence[Report], outcomes: Sequence[Outcome]) -> TruthTaken:
    counts = Counter(outcome.status for outcome in outcomes)
    results = [
        TruthResult(id=report.id, status=outcome.status, reason=outcome.reason or UNSET)
        for report, outcome in zip(read, outcomes, strict=True)
    ]
    return TruthTaken(**{status: counts[status] for status in STATUSES}, results=results)
