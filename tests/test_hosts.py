"""The Host header, the headers of proxies, and a path in front of every route, behind a real proxy."""

import contextlib
import http.client
import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import CHROMIUM, browsing
from conftest import PATIENCE, eventually, free_port, serving
from msgspec.structs import replace
from test_server import BODY, DEFAULT, exchange, head

from unpickled.server import Config, create_app
from unpickled.server.errors import ConfigError
from unpickled.server.message.environ import peer
from unpickled.server.serve.forwarded import Forwarded
from unpickled.server.serve.hosts import Hosts

FIRST = head() + BODY
MALFORMED = ["", "a b", "a/b", "a@b", "a?b", "a,b", "a:b", "a:123456", "[::1", "[x]", "[::1]80", ":80", "%41"]
PROBES = ["/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"]


def request(target: str, *lines: str, method: str = "POST", version: str = "1.1") -> bytes:
    """A request with exactly these lines."""
    body = BODY if method == "POST" else b""
    lines = (f"{method} {target} HTTP/{version}", *lines, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """A server with default settings."""
    with serving(tmp_path_factory.mktemp("hosts"), *DEFAULT, models=models.path) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(models, tmp_path_factory):
    """A server that goes by a few names."""
    names = ("--trusted-hosts", "api.example", ".internal.example", "localhost", "[::1]")
    with serving(tmp_path_factory.mktemp("guarded"), *DEFAULT, *names, models=models.path) as server:
        yield server


def refused(answer: tuple[int, dict[str, str], bytes]) -> bool:
    """Whether an answer is a 400 in JSON that leads nowhere else."""
    status, headers, body = answer
    return status == 400 and json.loads(body)["code"] == "bad_request" and "location" not in headers


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", MALFORMED)
def test_malformed_hosts(server, method, host):
    """A Host header that is no name, or none at all, is refused, before and after others were answered."""
    assert exchange(server, FIRST)[0] == 200
    assert refused(exchange(server, request("/predict", f"Host: {host}", method=method)))


@pytest.mark.parametrize("hosts", [(), ("localhost", "evil.example"), ("localhost", "localhost")])
def test_one_host_header(server, hosts):
    """HTTP/1.1 demands one Host header: none, and two, are refused."""
    assert refused(exchange(server, request("/predict", *(f"Host: {host}" for host in hosts))))


def test_http_1_0_needs_no_host(server):
    """Clients of HTTP/1.0 may come without a Host header."""
    assert exchange(server, request("/predict", version="1.0"))[0] == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]:80", "a_b", "a.example.", "a:"]
)
def test_hosts_that_are_well_formed(server, host):
    """Any well-formed name is taken as long as no names are trusted."""
    assert exchange(server, request("/predict", f"Host: {host}"))[0] == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "evil.example:80"), ("GET", "evil.example"), ("CONNECT", "evil.example:80"), ("OPTIONS", "*")],
)
def test_targets_without_a_path(server, method, target):
    """A target that names no path is refused; it is never taken for the page at /."""
    assert refused(exchange(server, request(target, "Host: localhost", method=method)))


@pytest.mark.parametrize(
    "path",
    ["", "/", "/predict", "/models", "/models/", "/v2", "/v2/", "/v2//", "/docs", "/docs/", "//x", "/x"],
)
def test_absolute_targets(server, path):
    """A target with a host of its own is answered as the path alone is: the host is used nowhere."""
    answers = [
        exchange(server, request(f"{start}{path or '/'}", "Host: localhost", method="GET"))
        for start in ("", "http://evil.example", "https://evil.example:1")
    ]
    assert len({(status, body) for status, _, body in answers}) == 1
    assert not any("location" in headers or b"evil" in body for _, headers, body in answers)


def test_an_absolute_target_without_a_host(guarded):
    """Where the target has the only name, it has to be one that the server goes by."""
    assert refused(exchange(guarded, request("http://evil.example/predict")))
    assert exchange(guarded, request("http://api.example/predict"))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example", 200),
        ("API.example:8000", 200),
        ("api.example.", 200),
        ("a.b.internal.example", 200),
        ("[::1]:80", 200),
        ("internal.example", 400),
        ("evilinternal.example", 400),
        ("api.example.evil.example", 400),
        ("127.0.0.1", 400),
        ("evil.example", 400),
    ],
)
def test_trusted_hosts(guarded, host, status):
    """Only the names of the setting are answered; the refusal names the setting."""
    for method, target in (("POST", "/predict"), ("GET", "/models"), ("GET", "/nowhere")):
        answer = exchange(guarded, request(target, f"Host: {host}", method=method))
        assert answer[0] == (404 if (status, target) == (200, "/nowhere") else status)
        assert status == 200 or "add it to trusted_hosts" in json.loads(answer[2])["error"]


@pytest.mark.parametrize("path", PROBES)
def test_probes_under_any_name(guarded, path):
    """Health checks are answered under the address that a balancer calls, which tells a stranger nothing."""
    assert exchange(guarded, request(path, "Host: 10.1.2.3:8000", method="GET"))[0] == 200
    assert exchange(guarded, request(path, "Host: a b", method="GET"))[0] == 400


def test_names_are_remembered_within_bounds():
    """The memory of names that were found right is bounded, and a long name is not kept."""
    hosts = Hosts([".example"])
    for number in range(5000):
        hosts.check({"HTTP_HOST": f"h{number}.example", "PATH_INFO": "/"})
    hosts.check({"HTTP_HOST": f"{'h' * 400}.example", "PATH_INFO": "/"})
    assert len(hosts.known) <= 1024
    assert "h4999.example" in hosts.known
    assert max(map(len, hosts.known)) < 300


def believed(peer: str, trusted: tuple[str, ...], **headers: str) -> tuple[str, str, str]:
    """Address, scheme and host that the application sees."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "here"}
    environ |= {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in headers.items()}
    Forwarded(lambda environ, start: [], trusted)(environ, lambda *arguments: None)
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]


@pytest.mark.parametrize(
    ("peer", "chain", "address"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "10.2.2.2, 10.9.9.9", "10.2.2.2"),
        ("10.0.0.1", "6.6.6.6, unknown, 10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", "no address", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("11.0.0.1", "203.0.113.9", "11.0.0.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_the_address_of_a_client(peer, chain, address):
    """The right-most address that is not a proxy's is the client's; nobody else's headers count."""
    assert believed(peer, ("10.0.0.0/8",), **{"for": chain})[0] == address


def test_the_proxy_is_still_known():
    """The address of the proxy, to which the connection leads, is noted beside that of its client."""
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}
    Forwarded(lambda environ, start: [], ("10.0.0.1",))(environ, lambda *arguments: None)
    assert (environ["REMOTE_ADDR"], peer(environ)) == ("203.0.113.9", "10.0.0.1")
    environ = {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}
    Forwarded(lambda environ, start: [], ("unix",))(environ, lambda *arguments: None)
    assert (environ["REMOTE_ADDR"], peer(environ)) == ("203.0.113.9", "")
    assert peer({"REMOTE_ADDR": "203.0.113.9"}) == "203.0.113.9"


def test_the_scheme_and_the_host_of_a_client():
    """A trusted peer tells the scheme and the host as well; of several values the last one is its own."""
    told = {"proto": "http, HTTPS", "host": "evil.example, api.example"}
    assert believed("10.0.0.1", ("10.0.0.1",), **told) == ("10.0.0.1", "https", "api.example")
    assert believed("10.0.0.2", ("10.0.0.1",), **told) == ("10.0.0.2", "http", "here")
    assert believed("10.0.0.1", ("10.0.0.1",), proto="gopher") == ("10.0.0.1", "http", "here")
    assert believed("", ("unix",), **told) == ("", "https", "api.example")
    assert believed("203.0.113.9", ("*",), **told)[1] == "https"


def test_addresses_of_proxies_are_checked():
    """A value that is no address ends the start with a sentence, in Python as on the command line."""
    with pytest.raises(ConfigError, match="does not appear to be an IPv4 or IPv6 network"):
        Config.of(forwarded_allow_ips=["proxy.example"])
    listening = replace(Config().listening, forwarded_allow_ips=("10.0.0.1/8",))
    with pytest.raises(ConfigError, match="has host bits set"):
        create_app(Config(listening=listening))


class Proxy(BaseHTTPRequestHandler):
    """Hands on what is below /risk/v1, path and all, with the headers of a proxy; refuses all else."""

    protocol_version = "HTTP/1.1"
    behind = 0

    def do_GET(self) -> None:
        if not self.path.startswith("/risk/v1"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {"Content-Type", "Accept", "Accept-Encoding"}
        headers = {name: value for name, value in self.headers.items() if name in kept}
        headers |= {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": self.headers["Host"]}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.behind)) as server:
            server.request(self.command, self.path, body, {**headers, "Host": "upstream"})
            answer = server.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name not in {"content-length", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def proxied(models, tmp_path_factory):
    """A server below a path, and the address of a proxy in front of it."""
    flags = (*DEFAULT, "--root-path", "/risk/v1", "--forwarded-allow-ips", "127.0.0.1", "--access-log")
    with serving(tmp_path_factory.mktemp("proxied"), *flags, models=models.path) as server:
        handler = type("Handler", (Proxy,), {"behind": server.port})
        with ThreadingHTTPServer(("127.0.0.1", free_port()), handler) as proxy:
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            yield server, f"http://127.0.0.1:{proxy.server_port}"
            proxy.shutdown()


def test_a_path_in_front(proxied):
    """Requests below the prefix and requests without it are answered alike, redirects name no host."""
    server, url = proxied
    for path in ("/predict", "/risk/v1/predict", "/risk/v1/v2/models/iris/infer"):
        assert exchange(server, head(path=path) + BODY)[0] == (400 if "infer" in path else 200)
    assert exchange(server, request("/risk/v1/livez", "Host: a", method="GET"))[0] == 200
    assert exchange(server, request("/risk/v12/livez", "Host: a", method="GET"))[0] == 404
    status, headers, _ = exchange(server, request("/risk/v1", "Host: evil.example", method="GET"))
    assert (status, headers["location"]) == (308, "v1/")
    with urllib.request.urlopen(f"{url}/risk/v1", timeout=PATIENCE) as answer:
        assert answer.url == f"{url}/risk/v1/"
        assert json.load(answer)["service"] == "unpickled"


def test_the_log_behind_a_proxy(proxied):
    """The access log has the address that the proxy tells, and the path that it has sent."""
    server, url = proxied
    with urllib.request.urlopen(f"{url}/risk/v1/models/iris/predict", BODY, timeout=PATIENCE) as answer:
        assert json.load(answer)["prediction"] == [0]
    expected = {"path": "/risk/v1/models/iris/predict", "remote": "203.0.113.7"}.items()
    eventually(lambda: any(expected <= line.items() for line in logged(server)))


def logged(server) -> list[dict[str, object]]:
    """The lines of the access log."""
    return [json.loads(line) for line in server.printed().splitlines() if line.startswith('{"time"')]


def test_openapi_behind_a_proxy(proxied):
    """The address of the server in the OpenAPI document leads through the proxy."""
    _, url = proxied
    with urllib.request.urlopen(f"{url}/risk/v1/openapi.json", timeout=PATIENCE) as answer:
        document = json.load(answer)
    base = urllib.request.urljoin(f"{url}/risk/v1/openapi.json", document["servers"][0]["url"])
    with urllib.request.urlopen(f"{base.rstrip('/')}/predict", BODY, timeout=PATIENCE) as answer:
        assert json.load(answer)["predicted_class"] == ["setosa"]


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_pages_behind_a_proxy(proxied, tmp_path):
    """The page predicts and its code names the whole path; /docs shows the operations: no file is missing."""
    _, url = proxied
    with browsing(tmp_path) as tab:
        tab.open(f"{url}/risk/v1/")
        tab.wait("document.querySelector('.winner')?.textContent")
        assert f"{url}/risk/v1/" in tab.text(".snippets code")
        tab.open(f"{url}/risk/v1/docs")
        tab.wait("document.querySelector('.opblock-tag')")
        assert tab.complaints == []
