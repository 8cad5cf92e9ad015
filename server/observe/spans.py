"""Spans, and the document in which a collector of OpenTelemetry takes them.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hexadecimal, 64-bit numbers as text.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from unpickled.server.message.answer import dumps

# The kinds of spans, the status of one that failed, and its flags: sampled, and where its parent is.
_INTERNAL, _SERVER = 1, 2
_ERROR = 2
_SAMPLED, _PARENT_KNOWN, _PARENT_REMOTE = 0x1, 0x100, 0x200

# Values of attributes.
Value = str | int | float
Attributes = Mapping[str, Value]
_NONE: Attributes = MappingProxyType({})


class Span(NamedTuple):
    """A stretch of the work on one request.

    ``trace``, ``span`` and ``parent`` are ids in hexadecimal, ``parent`` "" for the first span of a trace.
    ``begun`` and ``ended`` are nanoseconds since 1970. The span of the whole request is ``whole``: its parent
    is in another process, and ``state`` is the caller's tracestate.
    """

    trace: str
    span: str
    parent: str
    name: str
    begun: int
    ended: int
    attributes: Attributes = _NONE
    whole: bool = False
    failed: bool = False
    state: str = ""


def document(resource: Attributes, scope: Mapping[str, str], spans: Iterable[Span]) -> bytes:
    """The body of an export of these spans, as JSON; ``scope`` is the name and version of their maker."""
    written = [_span(span) for span in spans]
    scopes = [{"scope": scope, "spans": written}]
    return dumps({"resourceSpans": [{"resource": {"attributes": _list(resource)}, "scopeSpans": scopes}]})


def _span(span: Span) -> dict[str, Any]:
    remote = _PARENT_REMOTE if span.whole and span.parent else 0
    written = {
        "traceId": span.trace,
        "spanId": span.span,
        "flags": _SAMPLED | _PARENT_KNOWN | remote,
        "name": span.name,
        "kind": _SERVER if span.whole else _INTERNAL,
        "startTimeUnixNano": str(span.begun),
        "endTimeUnixNano": str(span.ended),
        "attributes": _list(span.attributes),
        "status": {"code": _ERROR} if span.failed else {},
    }
    more = {"parentSpanId": span.parent, "traceState": span.state}
    return written | {key: value for key, value in more.items() if value}


def _list(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}
