"""Traces: requests whose callers record them are sent to a collector, as spans."""

import json
import os
import threading
import time
from base64 import b64encode
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import FLOWER, eventually, free_port, serving
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.errors import ConfigError
from unpickled.server.message import traceparent
from unpickled.server.message.traceparent import Traceparent
from unpickled.server.observe import traces
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.spans import Span
from unpickled.server.observe.traces import Traces
from unpickled.server.service import Service

BODY = json.dumps({"features": FLOWER}).encode()
LINES = b'{"features": [5.1, 3.5, 1.4, 0.2]}\n' * 3
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
PHASES = ["read", "decode", "run", "encode"]


class Receiver(ThreadingHTTPServer):
    """A collector: it reads what it gets as protobuf's own parser does, and answers as it is told."""

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.received, self.paths = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self):
        scopes = [
            scope for export in self.received for each in export.resource_spans for scope in each.scope_spans
        ]
        return [span for scope in scopes for span in scope.spans]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.headers["Content-Type"] == "application/json"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, answer = self.server.answers.pop(0) if self.server.answers else (200, {}, b"{}")
        # First this: a test may go on as soon as it sees the spans.
        self.server.paths.append(self.path)
        if status == 200:
            self.server.received.append(parsed(body))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def parsed(body):
    """The export as a message; its JSON has ids in hexadecimal where protobuf's has base64."""
    document = json.loads(body)
    for spans in document["resourceSpans"]:
        for span in (span for scope in spans["scopeSpans"] for span in scope["spans"]):
            assert all(isinstance(span[key], str) for key in ("startTimeUnixNano", "endTimeUnixNano"))
            for key in {"traceId", "spanId", "parentSpanId"} & span.keys():
                assert span[key] == span[key].lower()
                span[key] = b64encode(bytes.fromhex(span[key])).decode()
    return json_format.ParseDict(document, ExportTraceServiceRequest())


@contextmanager
def collecting(*answers):
    """A collector that listens until the block ends."""
    with Receiver(*answers) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


@contextmanager
def client_of(models, url, **settings):
    """A client of an application that sends its spans to a collector at once."""
    config = Config.of(
        models=str(models.path), default_model="iris", reload_seconds=0, otlp_endpoint=url, **settings
    )
    service = Service(config)
    try:
        client = flask_app(service).test_client()
        # A span ends with the last part of its answer, which a client may not ask for.
        client.open = partial(client.open, buffered=True)
        yield client
    finally:
        service.traces.close()


@pytest.fixture
def quick(monkeypatch):
    """Spans are sent, and sent again, without a pause."""
    monkeypatch.setattr(traces, "_AGE", 0.0)
    monkeypatch.setattr(traces, "_PAUSE", 0.01)
    monkeypatch.setattr(traces, "_WAITS", (0.01, 0.01, 0.01))


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        (SAMPLED, Traceparent(TRACE, CALLER, True)),
        (UNSAMPLED, Traceparent(TRACE, CALLER, False)),
        (f"00-{TRACE}-{CALLER}-ff", Traceparent(TRACE, CALLER, True)),
        (f"00-{TRACE}-{CALLER}-02", Traceparent(TRACE, CALLER, False)),
        (f"cc-{TRACE}-{CALLER}-01", Traceparent(TRACE, CALLER, True)),
        (f"cc-{TRACE}-{CALLER}-01-more", Traceparent(TRACE, CALLER, True)),
        (f"cc-{TRACE}-{CALLER}-01.more", None),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"00-{TRACE}-{CALLER}-01-", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE[1:]}-{CALLER}-01", None),
        (f"00-{TRACE}-{CALLER}-1", None),
        (f"00-{TRACE}-{CALLER}", None),
        (f"{SAMPLED},{SAMPLED}", None),
        (f" {SAMPLED}", None),
        (f"{SAMPLED}\n", None),
        ("", None),
    ],
)
def test_traceparent(header, parts):
    """The header is read by the rules of W3C; one that breaks them counts as none."""
    assert traceparent.read(header) == parts
    assert traceparent.well_formed(header) == (parts is not None)
    if parts is not None:
        assert traceparent.unsampled(header) != parts.sampled


def test_a_prediction(models, quick):
    """A recorded prediction is a span of its caller's trace, with a span for each phase below it."""
    with collecting() as collector, client_of(models, collector.url) as client:
        headers = {"traceparent": SAMPLED, "tracestate": "a=1,b=2", "X-Request-Id": "mine"}
        began = time.time_ns()
        answer = client.post("/models/iris/predict?secret", data=BODY, headers=headers)
        ended = time.time_ns()
        eventually(lambda: len(collector.spans) >= 5)
    whole, *phases = collector.spans
    assert collector.paths == ["/v1/traces"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, CALLER)
    assert (whole.name, whole.kind, whole.trace_state) == ("POST /models/<name>/predict", 2, "a=1,b=2")
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{whole.span_id.hex()}-01"
    assert "Server-Timing" not in answer.headers
    assert began <= whole.start_time_unix_nano <= whole.end_time_unix_nano <= ended
    # A request that waits for its turn, which the first one may, has a span for that as well.
    assert [span.name for span in phases if span.name != "queue"] == PHASES
    assert {span.parent_span_id for span in phases} == {whole.span_id}
    times = [time for span in phases for time in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert times == sorted(times)
    # The header that they come from has four digits behind the point of a millisecond.
    assert times[0] >= whole.start_time_unix_nano - 1000
    assert times[-1] <= whole.end_time_unix_nano


def test_attributes(models, quick):
    """Attributes have OpenTelemetry's names; those of the process are with the resource."""
    with collecting() as collector, client_of(models, collector.url) as client:
        headers = {"traceparent": SAMPLED, "X-Request-Id": "mine", "User-Agent": "test/1"}
        client.post("/predict?secret", data=BODY, headers=headers)
        eventually(lambda: collector.spans)
    assert attributes(collector.spans[0]) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/predict",
        "server.address": "localhost",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "test/1",
        "unpickled.model.name": "iris",
        "unpickled.model.version": "1",
        "unpickled.request_id": "mine",
    }
    resource = attributes(collector.received[0].resource_spans[0].resource)
    assert (resource["service.name"], resource["process.pid"]) == ("unpickled", os.getpid())


def attributes(carrier):
    values = {pair.key: json_format.MessageToDict(pair.value) for pair in carrier.attributes}
    return {
        key: int(value["intValue"]) if "intValue" in value else value["stringValue"]
        for key, value in values.items()
    }


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("GET", "/livez", "GET /livez", 200),
        ("GET", "/models/iris", "GET /models/<name>", 200),
        ("GET", "/models/wine", "GET /models/<name>", 404),
        ("GET", "/nowhere/at/all", "GET", 404),
        ("POST", "/models/iris/versions/1/predict", "POST /models/<name>/versions/<version>/predict", 200),
        ("BREW", "/livez", "HTTP", 405),
    ],
)
def test_other_answers(models, quick, method, path, name, status):
    """Pages and errors are recorded too, under the pattern of their path."""
    with collecting() as collector, client_of(models, collector.url) as client:
        headers = {"traceparent": SAMPLED}
        answer = client.open(path, method=method, data=BODY, headers=headers)
        eventually(lambda: collector.spans)
    assert answer.status_code == status
    whole = collector.spans[0]
    assert (whole.name, attributes(whole)["http.response.status_code"]) == (name, status)
    assert (whole.status.code, "error.type" in attributes(whole)) == (0, False)


def test_a_stream_is_one_span(models, quick):
    """A stream is recorded as one span, at its end."""
    with collecting() as collector, client_of(models, collector.url) as client:
        headers = {"traceparent": SAMPLED, "Content-Type": "application/x-ndjson"}
        answer = client.post("/predict", data=LINES, headers=headers)
        assert answer.data.count(b"\n") == 3
        eventually(lambda: collector.spans)
        client.post("/predict", data=BODY, headers={"traceparent": SAMPLED})
        eventually(lambda: len(collector.spans) > 1)
    assert [span.name for span in collector.spans[:3]] == ["POST /predict", "POST /predict", "read"]


@pytest.mark.parametrize(
    ("header", "ratio", "recorded"),
    [
        (None, 0.0, False),
        (None, 1.0, True),
        (UNSAMPLED, 1.0, False),
        (SAMPLED, 0.0, True),
        ("00-nonsense-00", 1.0, True),
        ("00-nonsense-01", 0.0, False),
        (f"00-{TRACE}-{CALLER}-zz", 1.0, True),
    ],
)
def test_sampling(models, quick, header, ratio, recorded):
    """The caller decides, for its own requests; trace_ratio decides for the others."""
    headers = {} if header is None else {"traceparent": header}
    with collecting() as collector, client_of(models, collector.url, trace_ratio=ratio) as client:
        answer = client.post("/predict", data=BODY, headers=headers)
        assert ("traceresponse" in answer.headers) == ("X-Request-Id" in answer.headers) == recorded
        client.get("/livez", headers={"traceparent": SAMPLED})
        eventually(lambda: any(span.name == "GET /livez" for span in collector.spans))
    whole = [span for span in collector.spans if span.name == "POST /predict"]
    assert len(whole) == recorded
    assert not recorded or (whole[0].parent_span_id.hex() == CALLER) == (header == SAMPLED)


def test_server_timing_is_kept_for_clients(models, quick):
    """A client that asks for the times of a recorded request gets them."""
    with collecting() as collector, client_of(models, collector.url) as client:
        headers = {"traceparent": SAMPLED, "Server-Timing": ""}
        assert "run;dur=" in client.post("/predict", data=BODY, headers=headers).headers["Server-Timing"]


def spans(count):
    return [Span(TRACE, CALLER, "", str(number), 1, 2) for number in range(count)]


@contextmanager
def exporter(url):
    """An exporter, and a function that reads how many spans it has sent and lost."""
    block = Memory(blocks=1).claim()
    sender = Traces(url, block)
    try:
        yield sender, lambda: tuple(int(block.series((name,), 1)[0]) for name in (traces.SENT, traces.LOST))
    finally:
        sender.close()


@pytest.mark.parametrize(
    ("answers", "counts", "attempts"),
    [
        ([], (3, 0), 1),
        ([(503, {}, b"")], (3, 0), 2),
        ([(429, {"Retry-After": "0"}, b"")] * 3, (3, 0), 4),
        ([(503, {"Retry-After": "nonsense"}, b"")] * 4, (0, 3), 4),
        ([(400, {}, b"")], (0, 3), 1),
        ([(302, {"Location": "/"}, b"")], (0, 3), 1),
        ([(200, {}, b'{"partialSuccess": {"rejectedSpans": "2"}}')], (1, 2), 1),
        ([(200, {}, b'{"partialSuccess": {}}')], (3, 0), 1),
        ([(200, {}, b"nonsense")], (3, 0), 1),
        ([(200, {}, b"[]")], (3, 0), 1),
        ([(202, {}, b"")], (3, 0), 1),
    ],
)
def test_a_collector_that_refuses(quick, answers, counts, attempts):
    """Spans are sent again where the collector asks for that, a few times; the others are counted as lost."""
    with collecting(*answers) as collector, exporter(collector.url) as (sender, counted):
        sender.offer(spans(3))
        eventually(lambda: sum(counted()) == 3)
        assert counted() == counts
        assert len(collector.paths) == attempts


def test_no_collector(quick, caplog):
    """Without a collector spans are lost and counted, one warning says so, and another when it is back."""
    url = f"http://127.0.0.1:{free_port()}"
    with exporter(url) as (sender, counted):
        for count in (1, 2):
            sender.offer(spans(3))
            eventually(lambda count=count: counted() == (0, 3 * count))
    warning = "takes no spans ([Errno 111] Connection refused): they are lost until it does"
    assert told(caplog, url) == [warning]


def test_a_collector_that_comes_back(quick, caplog):
    """Once the collector takes spans again, a warning says so."""
    with collecting((400, {}, b"")) as collector, exporter(collector.url) as (sender, counted):
        sender.offer(spans(3))
        eventually(lambda: counted() == (0, 3))
        sender.offer(spans(3))
        eventually(lambda: counted() == (3, 3))
        # They are counted before the log tells it.
        eventually(lambda: len(told(caplog, collector.url)) == 2, 60)
    assert told(caplog, collector.url) == [
        "takes no spans (status 400): they are lost until it does",
        "takes spans again",
    ]


def told(caplog, url):
    """The messages about this collector: the exporters of other tests may still end."""
    return [each.message.removeprefix(f"{url} ") for each in caplog.records if url in each.message]


def test_the_queue_is_bounded(monkeypatch):
    """Spans that find no place are lost, and counted; those that wait are sent in batches."""
    monkeypatch.setattr(traces, "_MOST", 1000)
    with collecting() as collector, exporter(collector.url) as (sender, counted):
        for _ in range(300):
            sender.offer(spans(5))
        eventually(lambda: sum(counted()) == 1500)
        assert counted()[0] == len(collector.spans) >= 1000
        assert max(len(export.resource_spans[0].scope_spans[0].spans) for export in collector.received) < 520


def test_the_last_spans_are_sent(models, tmp_path):
    """A server that ends sends the spans that wait, from each of its workers."""
    flags = ("--default-model", "iris", "--workers", "2", "--trace-ratio", "1")
    with collecting() as collector:
        with serving(tmp_path, *flags, "--otlp-endpoint", collector.url, models=models.path) as server:
            for _ in range(20):
                assert server.ask("/predict", BODY)[0] == 200
        recorded = [span for span in collector.spans if span.name == "POST /predict"]
        assert len(recorded) == 20
        assert server.process.returncode == 0


@pytest.mark.long
def test_a_collector_that_hangs_keeps_no_request(models, tmp_path):
    """A collector that takes connections and says nothing costs requests nothing, nor the server's end."""
    with Receiver() as silent:
        flags = ("--default-model", "iris", "--trace-ratio", "1", "--otlp-endpoint", silent.url)
        with serving(tmp_path, *flags, models=models.path) as server:
            assert {server.ask("/predict", BODY)[0] for _ in range(50)} == {200}
        assert server.process.returncode == 0


@pytest.mark.parametrize(
    "endpoint", ["http://", "http://:4318", "http://host:port", "https://[::1", "http://host:70000"]
)
def test_an_endpoint_that_is_none(models, endpoint):
    """An address without a host or with a wrong port stops the server from starting."""
    with pytest.raises(ConfigError, match="otlp_endpoint"):
        Service(Config.of(models=str(models.path), otlp_endpoint=endpoint))
