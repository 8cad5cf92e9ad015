"""The command drift against a small HTTP server that answers as Unpickled does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from conftest import BIN, free_port, run
from test_drift_judgement import judged

from unpickled.__main__ import main
from unpickled.server.drift.report import Drift

SAME, MOVED = judged([100] * 10), judged([50, 60, 70, 80, 90, 100, 110, 120, 140, 180], missing=30)
KEY = "unp_secret"


def report(*versions, model="iris", window="24h"):
    """The body of an answer about these versions."""
    since, until = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    return msgspec.json.encode(
        Drift(model=model, window=window, since=since, until=until, complete=True, versions=tuple(versions))
    )


def refusal(code, sentence):
    return json.dumps({"error": sentence, "code": code}).encode()


# Path -> status and body of the answer.
ANSWERS = {
    "/models/same/drift?window=24h": (200, report(SAME)),
    "/models/moved/drift?window=1h": (200, report(MOVED, msgspec.structs.replace(SAME, version=2))),
    "/models/few/drift?window=24h": (200, report(judged([4] * 10), model="few")),
    "/models/old/drift?window=24h": (
        200,
        report(
            msgspec.structs.replace(judged([0] * 10), trained=0, note="it was exported before"), model="old"
        ),
    ),
    "/models/silent/drift?window=24h": (200, report(model="silent")),
    "/models/other/drift?window=24h": (404, refusal("unknown_model", "there is no model 'other'")),
    "/models/older/drift?window=24h": (404, refusal("not_found", "nothing is served under this path")),
    "/models/strange/drift?window=24h": (200, b"<html>a page</html>"),
    "/models/proxy/drift?window=24h": (502, b"<html>bad gateway</html>"),
    "/models/a%20b%2Fc/drift?window=24h": (200, report(SAME)),
}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS.get(self.path, (500, b""))
        if self.path.startswith("/models/locked/"):
            allowed = self.headers.get("Authorization") == f"Bearer {KEY}"
            status, body = (200, report(SAME)) if allowed else (401, refusal("unauthorized", "it has no key"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a server that gives ANSWERS, and to the model locked with a key only."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def asked(capsys, *words):
    """The exit status of the command, and what it has printed."""
    status = main(["drift", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_nothing_has_drifted(url, capsys):
    """A model like its training rows gives a table and the status 0."""
    status, output, errors = asked(capsys, "same", "--url", url)
    assert (status, errors) == (0, "")
    assert "version 3: 1,000 rows, compared with 1,000 of training: nothing has drifted" in output
    lines = [line.split() for line in output.splitlines()]
    assert ["x", "no", "0.000", "0.100", "0.000", "0.0", "1.0e+00", "0.0%", "0.0%"] in lines


def test_drift(url, capsys):
    """A model that has drifted gives the status 3, the alarms first, and a reason for each."""
    status, output, _ = asked(capsys, "moved", "--url", f"{url}/", "--window", "1h")
    assert status == 3
    assert output.index("\n  x ") < output.index("\n  prediction ")
    assert "x: the values lie elsewhere: PSI 0.14, above 0.10" in output
    assert "x: 2.9% of the rows are without a value, 0.0% in training" in output


def test_one_version(url, capsys):
    """Only the version that is named counts; one without rows is an error that names the others."""
    words = ("moved", "--url", url, "--window", "1h", "--version")
    status, output, _ = asked(capsys, *words, "2")
    assert (status, "version 3" in output) == (0, False)
    status, output, errors = asked(capsys, *words, "7")
    assert (status, output) == (1, "")
    assert (
        "version 7 of iris has not answered rows in the last 24h (versions 3, 2 have): name one of them"
        in errors
    )


def test_json(url, capsys):
    """--json prints the report as it is."""
    status, output, _ = asked(capsys, "moved", "--url", url, "--window", "1h", "--json")
    told = msgspec.json.decode(output, type=Drift)
    assert (status, told.versions[0]) == (3, MOVED)


def test_html(url, capsys, tmp_path):
    """--html writes a page of its own beside the table."""
    file = tmp_path / "drift.html"
    status, _, errors = asked(capsys, "moved", "--url", url, "--window", "1h", "--html", str(file))
    assert (status, errors) == (3, f"{file} is written\n")
    text = file.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.index(">x</h3>") < text.index(">prediction</h3>")
    status, _, errors = asked(capsys, "same", "--url", url, "--html", str(tmp_path / "no" / "page.html"))
    assert (status, "cannot be written: No such file" in errors) == (1, True)


@pytest.mark.parametrize(("model", "sentence"), [
    ("few", "error: version 3 of few is not judged: it has 40 rows, and 500 are needed to judge it: wait"),
    ("old", "error: version 3 of old is not judged: 0 rows: it was exported before"),
])  # fmt: skip
def test_not_judged(url, capsys, model, sentence):
    """Too few rows, or no reference, are no answer: the table is printed, and the status is 1."""
    status, output, errors = asked(capsys, model, "--url", url)
    assert (status, errors[: len(sentence)]) == (1, sentence)
    assert [line.split()[1] for line in output.splitlines() if line.startswith("  x ")] == ["-"]


@pytest.mark.parametrize(("model", "sentence"), [
    ("silent", "no version of silent has answered rows in the last 24h: wait, or name a longer --window"),
    ("other", "there is no model 'other'"),
    ("older", "has no report about drift (nothing is served under this path): name a server of this release"),
    ("strange", "the answer is no report about drift"),
    ("proxy", "has no report about drift (status 502)"),
    ("locked", "it has no key; give one with --key"),
])  # fmt: skip
def test_errors(url, capsys, model, sentence):
    """Each error says what to do, and nothing is printed to standard output."""
    status, output, errors = asked(capsys, model, "--url", url)
    assert (status, output) == (1, "")
    assert sentence in errors


def test_key_and_names(url, capsys):
    """The key is sent as a bearer token; a name is escaped in the path; http:// may be left out."""
    assert asked(capsys, "locked", "--url", url.removeprefix("http://"), "--key", KEY)[0] == 0
    assert asked(capsys, "a b/c", "--url", url)[0] == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://[::1"])
def test_no_server(capsys, address):
    """Without a server there, one sentence says so."""
    url = address.format(port=free_port())
    status, output, errors = asked(capsys, "iris", "--url", url)
    assert (status, output) == (1, "")
    assert errors.startswith(f"error: no server answers at http://{url.removeprefix('http://')} (")
    assert "unpickled serve" in errors


def test_wrong_window(capsys):
    """A window that is not counted is a wrong command line."""
    status, _, errors = asked(capsys, "iris", "--window", "2h")
    assert (status, "--window" in errors) == (2, True)


def test_the_program(url):
    """The installed program has the status of the command."""
    completed = run([BIN / "unpickled", "drift", "moved", "--window", "1h", "--url", url])
    assert (completed.returncode, completed.stderr) == (3, "")
