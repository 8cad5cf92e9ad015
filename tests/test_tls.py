"""TLS: certificates of the server and of clients, their mistakes, and their change while requests come."""

import http.client
import json
import shutil
import ssl
import subprocess
import sys
import threading

import pytest
from certificates import Authority
from conftest import FLOWER, ROOT, environment, eventually, run, serving

from unpickled.server import Config
from unpickled.server.errors import ConfigError
from unpickled.server.process import certificates

BODY = json.dumps({"features": FLOWER}).encode()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def flags(pair, *more):
    return ["--tls-cert", str(pair[0]), "--tls-key", str(pair[1]), "--default-model", "iris", *more]


def trusting(authority, pair=None, alpn=()):
    """A client's context that trusts the authority alone, and shows a certificate of its own."""
    context = ssl.create_default_context(cafile=authority.path)
    if pair:
        context.load_cert_chain(*pair)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def ask(server, context, path="/predict", body=BODY):
    """Status of a POST over a connection of its own, and the serial number of the server's certificate."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)
    try:
        connection.request("POST", path, body)
        serial = connection.sock.getpeercert()["serialNumber"]
        return connection.getresponse().status, serial
    finally:
        connection.close()


@pytest.mark.parametrize("layout", ["PKCS8", "TraditionalOpenSSL"])
@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "rsa"])
def test_served_over_tls(models, tmp_path, authority, kind, layout):
    """Keys of every usual kind and layout are served; banner and command say https."""
    if (kind, layout) == ("ed25519", "TraditionalOpenSSL"):
        pytest.skip("there is no such layout of these keys")
    pair = authority.issue("server", kind, layout=layout)
    with serving(tmp_path, *flags(pair), models=models.path) as server:
        assert ask(server, trusting(authority))[0] == 200
        assert f"Unpickled serves https://127.0.0.1:{server.port}" in server.printed()
        assert f"curl https://127.0.0.1:{server.port}/predict" in server.printed()


def test_versions_and_protocols(models, tmp_path, authority):
    """TLS 1.2 and 1.3 are spoken, and HTTP/2 where a client offers it; plain HTTP is not answered."""
    with serving(tmp_path, *flags(authority.issue("server")), models=models.path) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(authority, alpn=["h2", "http/1.1"])
            context.maximum_version = version
            with context.wrap_socket(server.connect(), server_hostname="127.0.0.1") as connection:
                assert connection.selected_alpn_protocol() == "h2"
        with server.connect() as plain:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_http2(models, tmp_path, authority):
    """A client of HTTP/2 gets its answer by it."""
    with serving(tmp_path, *flags(authority.issue("server")), models=models.path) as server:
        url = f"https://127.0.0.1:{server.port}/predict"
        command = ["curl", "-s", "--http2", "--cacert", authority.path, url, "-d", BODY.decode()]
        output = subprocess.run(
            [*command, "-w", "%{http_version}"], capture_output=True, text=True, check=True
        )
        assert output.stdout.endswith(("}2", "}1.1"))


def test_clients_need_a_certificate(models, tmp_path, authority):
    """With tls_client_ca only clients with a certificate of that authority are answered."""
    ca = str(authority.path)
    stranger = Authority(tmp_path, "stranger").issue("intruder")
    pair, mine = authority.issue("server"), authority.issue("client")
    with serving(tmp_path, *flags(pair, "--tls-client-ca", ca), models=models.path) as server:
        assert ask(server, trusting(authority, mine))[0] == 200
        for other in (None, stranger):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                ask(server, trusting(authority, other))
        assert ask(server, trusting(authority, mine))[0] == 200


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_changed_certificate_is_served(models, tmp_path, authority, workers):
    """A new certificate is served within seconds, and no request is lost while the workers are replaced."""
    pair = authority.issue("server")
    with serving(tmp_path, *flags(pair, "--workers", str(workers)), models=models.path) as server:
        context, statuses, ended = trusting(authority), [], threading.Event()

        def load():
            while not ended.is_set():
                statuses.append(ask(server, context)[0])

        old = ask(server, context)[1]
        eventually(lambda: len(server.workers()) == workers)
        thread = threading.Thread(target=load)
        thread.start()
        before = set(server.workers())
        authority.issue("server", "rsa")
        eventually(lambda: not before & set(server.workers()) and len(server.workers()) == workers)
        assert {ask(server, context)[1] for _ in range(10)}.isdisjoint({old})
        ended.set()
        thread.join()
        assert set(statuses) == {200}


# A client has connected; a moment later, as on a busy machine, its connection is accepted.
WAITING = """
import socket, threading, time
from unpickled.server.process import listeners
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
accept = threading.Timer(0.2, lambda: listener.accept()[0].sendall(b"taken"))
accept.start()
listeners.close_all(600)
print(client.recv(5).decode())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the main process listens for its workers")
def test_connections_that_wait_are_taken():
    """A worker that will listen no more takes those that have connected: the kernel would reset them."""
    completed = run([sys.executable, "-c", WAITING], cwd=ROOT, env=environment())
    assert (completed.stdout, completed.stderr) == ("taken\n", "")


def test_a_wrong_change_leaves_the_old_one(models, tmp_path, authority):
    """A key that fits no certificate changes nothing, and the log says so."""
    pair = authority.issue("server")
    with serving(tmp_path, *flags(pair), models=models.path) as server:
        old = ask(server, trusting(authority))[1]
        pair[1].write_bytes(authority.issue("other")[1].read_bytes())
        eventually(lambda: "the certificate stays as it was" in server.printed())
        assert ask(server, trusting(authority)) == (200, old)


def wrong(tmp_path, authority):
    """Case -> (certificate, key, further settings, the reason)."""
    cert, key = authority.issue("good")
    (tmp_path / "der").write_bytes(ssl.PEM_cert_to_DER_cert(cert.read_text()))
    (tmp_path / "damaged").write_text(cert.read_text().replace("\nMII", "\nMAA", 1))
    (tmp_path / "locked").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII\n")
    p521 = authority.issue("p521", "p521")
    return {
        "another key": (cert, authority.issue("other")[1], {}, "do not belong together"),
        "another kind of key": (cert, authority.issue("edwards", "ed25519")[1], {}, "do not belong together"),
        "damaged": (tmp_path / "damaged", key, {}, "is damaged"),
        "der": (tmp_path / "der", key, {}, "openssl x509 -inform der"),
        "encrypted": (cert, tmp_path / "locked", {}, "openssl pkey -in"),
        "key for a certificate": (key, key, {}, "only a private key"),
        "missing": (tmp_path / "none", key, {}, "cannot be read (No such file or directory)"),
        "no ca": (cert, key, {"tls_client_ca": str(key)}, "tls_client_ca is"),
        "no certificate": (None, key, {}, "tls_key does nothing without tls_cert"),
        "no key": (cert, None, {}, "tls_cert needs tls_key"),
        "p521": (*p521, {}, "make one of P-256"),
    }


CASES = ["another key", "another kind of key", "damaged", "der", "encrypted", "key for a certificate",
         "missing", "no ca", "no certificate", "no key", "p521"]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_files(tmp_path, authority, case):
    """Files that cannot be served are refused before the server starts, with the file and the remedy."""
    cert, key, more, reason = wrong(tmp_path, authority)[case]
    paths = {"tls_cert": cert, "tls_key": key}
    values = {name: str(path) for name, path in paths.items() if path is not None} | more
    with pytest.raises(ConfigError) as caught:
        certificates.of(Config.of(**values).listening)
    assert reason in str(caught.value)


def test_a_wrong_file_ends_the_start(models, tmp_path, authority):
    """A server with a wrong certificate ends with one line that begins with error:."""
    cert, key = authority.issue("server")[0], authority.issue("other")[1]
    with serving(tmp_path, *flags((cert, key)), models=models.path, wait=False) as server:
        assert server.process.wait(60) == 1
        assert server.printed().splitlines()[-1].startswith("error: tls_cert")


def test_dates(tmp_path, authority, caplog):
    """An expired certificate is served, with a warning: clients refuse it, and a renewed one is followed."""
    cert, key = authority.issue("old", days=0)
    assert certificates.of(Config.of(tls_cert=str(cert), tls_key=str(key)).listening)
    assert "has expired" in caplog.text


OPEN = "everybody who reaches 0.0.0.0 may send requests"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("--host", "0.0.0.0"), True),
        (("--host", "127.0.0.1"), False),
        (("--host", "0.0.0.0", "--api-keys", "keys.toml"), False),
    ],
    ids=["open", "loopback", "keys"],
)
def test_an_open_server_says_so(models, tmp_path, settings, says):
    """A server that asks nobody for a key, at an address that others reach, says so with the remedy."""
    (tmp_path / "keys.toml").write_text("")
    with serving(tmp_path, *settings, models=models.path) as server:
        printed = server.printed()
        assert (OPEN in printed and "--api-keys" in printed) == says
        assert ('-H "Authorization: Bearer $KEY"' in printed) == ("--api-keys" in settings)
