"""Bearer tokens (JWT): the ones that are taken, those that are refused, and how their keys are followed."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from certificates import KINDS, Authority
from conftest import FLOWER, eventually
from cryptography.hazmat.primitives import serialization

from unpickled.server import Config, create_app
from unpickled.server.access.signers import Signers
from unpickled.server.errors import ConfigError
from unpickled.server.process.copies import SharedCopies

BODY = json.dumps({"features": FLOWER}).encode()
AUDIENCE, ISSUER = "https://models.example", "https://login.example"
# Name of a key -> its kind, and the algorithm of its tokens.
SIGNERS = {"r": ("rsa", "RS256"), "p": ("rsa", "PS384"), "e": ("p256", "ES256"), "d": ("ed25519", "EdDSA")}


@pytest.fixture(scope="module")
def signers():
    return {name: KINDS[kind]() for name, (kind, _) in SIGNERS.items()}


def jwks(signers, *names, **more):
    """A JWK Set with the public halves of keys."""
    entries = []
    for name in names or signers:
        algorithm = jwt.get_algorithm_by_name(SIGNERS[name][1])
        entries.append(algorithm.to_jwk(signers[name].public_key(), as_dict=True) | {"kid": name} | more)
    return json.dumps({"keys": entries})


def signed(signers, name="r", algorithm=None, header=None, **claims):
    """A token that is valid but for what is given; None leaves a claim out."""
    whole = {
        "sub": "robot",
        "aud": AUDIENCE,
        "iss": ISSUER,
        "exp": time.time() + 600,
        "scope": "read predict:iris",
    }
    whole = {key: value for key, value in (whole | claims).items() if value is not None}
    return jwt.encode(
        whole, signers[name], algorithm or SIGNERS[name][1], headers={"kid": name} | (header or {})
    )


def build(models, source, **values):
    values = {"jwt_audience": AUDIENCE, "jwt_issuer": ISSUER, "default_model": "iris"} | values
    return create_app(Config.of(models=str(models.path), jwks=str(source), **values)).test_client()


@pytest.fixture
def client(models, tmp_path, signers):
    (tmp_path / "jwks.json").write_text(jwks(signers))
    return build(models, tmp_path / "jwks.json")


def post(client, token, path="/predict"):
    return client.post(path, data=BODY, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("name", sorted(SIGNERS))
def test_valid_tokens(client, signers, name):
    """A token signed with any usual kind of key is taken, again and again; its scopes decide."""
    token = signed(signers, name)
    assert [post(client, token).status_code for _ in range(3)] == [200] * 3
    assert client.get("/models", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert post(client, token, "/models/forest/predict").status_code == 403
    assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "predict:iris"},
        {"scope": None, "scp": ["predict:iris"]},
        {"scope": None, "scp": "openid predict:*"},
    ],
    ids=str,
)
def test_claims_with_scopes(client, signers, claims):
    """Scopes come from ``scope`` or ``scp``, as words or as a list; words of others are left out."""
    assert post(client, signed(signers, **claims)).status_code == 200


def test_a_token_without_the_name_of_its_key(client, signers):
    """A token that names no key is tried with those that fit."""
    whole = {"sub": "robot", "aud": AUDIENCE, "iss": ISSUER, "exp": time.time() + 600, "scope": "predict:*"}
    assert post(client, jwt.encode(whole, signers["e"], "ES256")).status_code == 200


def public(signers, name):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return signers[name].public_key().public_bytes(serialization.Encoding.PEM, form)


def forged(signers):
    """Case -> a token that must not be taken, and a word of the reason."""
    good = signed(signers)
    head, body, signature = good.split(".")
    none = jwt.encode({"sub": "a", "exp": time.time() + 60}, None, "none", headers={"kid": "r"})
    # The classic: a shared-secret signature whose secret is the public key.
    secret = jwt.get_algorithm_by_name("HS256")
    confused = signed({"r": b"x" * 32}, algorithm="HS256")
    lead = confused.rsplit(".", 1)[0]
    forgery = secret.sign(lead.encode(), public(signers, "r"))
    return {
        "another audience": (signed(signers, aud="https://other.example"), "audience"),
        "another issuer": (signed(signers, iss="https://evil.example"), "issuer"),
        "another key": (signed({"r": KINDS["rsa"]()}), "signature"),
        "another token's signature": (
            signed(signers, sub="b").rsplit(".", 1)[0] + "." + signature,
            "signature",
        ),
        "changed": (f"{head}.{body[:-4]}AAAA.{signature}", ""),
        "confused": (f"{lead}.{jwt.utils.base64url_encode(forgery).decode()}", "'HS256'"),
        "expired": (signed(signers, exp=time.time() - 60), "expired"),
        "long": ("a" * 20_000 + ".b.c", "longer"),
        "no audience": (signed(signers, aud=None), "aud"),
        "no expiry": (signed(signers, exp=None), "exp"),
        "no json": ("YQ.YQ.YQ", "not valid"),
        "none": (none, "'none'"),
        "not yet": (signed(signers, nbf=time.time() + 600), "not valid yet"),
        "odd characters": (good + "\xff", ""),
        "other algorithm of the key": (signed(signers, "e", header={"kid": "r"}), "not known"),
        "unknown key": (signed(signers, header={"kid": "unknown"}), "not known"),
    }


FORGED = [
    "another audience", "another issuer", "another key", "another token's signature", "changed", "confused",
    "expired", "long", "no audience", "no expiry", "no json", "none", "not yet", "odd characters",
    "other algorithm of the key", "unknown key",
]  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_refused_tokens(client, signers, case):
    """A token that is not valid in every way is refused with 401 and the reason."""
    token, reason = forged(signers)[case]
    answer = post(client, token)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    assert reason in answer.json["error"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_expires_while_it_is_remembered(models, tmp_path, signers):
    """A token that has been taken is refused once it expires."""
    (tmp_path / "jwks.json").write_text(jwks(signers))
    client = build(models, tmp_path / "jwks.json")
    tokens = []

    def is_taken():
        # A leeway of 10 s is for clocks that differ; less than one second of it is left.
        tokens.append(signed(signers, exp=time.time() - 9))
        return post(client, tokens[-1]).status_code == 200

    eventually(is_taken, 60)
    eventually(lambda: post(client, tokens[-1]).status_code == 401, 60)


def test_a_key_is_taken_out_of_the_file(client, tmp_path, signers):
    """Once a key is taken out of the file, its tokens are refused, those that were remembered too."""
    token, other = signed(signers, "r"), signed(signers, "e")
    assert (post(client, token).status_code, post(client, other).status_code) == (200, 200)
    (tmp_path / "jwks.json").write_text(jwks(signers, "e"))
    eventually(lambda: post(client, token).status_code == 401)
    assert post(client, other).status_code == 200


def test_a_broken_file_changes_nothing(client, tmp_path, signers, caplog):
    """While the file is wrong, the keys stay."""
    (tmp_path / "jwks.json").write_text("{")
    eventually(lambda: "were not read" in caplog.text)
    assert post(client, signed(signers)).status_code == 200


WRONG = {
    "http": (None, "http://login.example/jwks", "has to begin with https://"),
    "missing": (None, "/none", "cannot be read"),
    "no json": ("[[key]]", None, "is no JSON, and so no JWK Set"),
    "no keys": ('{"keys": []}', None, "no public key"),
    "no set": ("[]", None, "is no JWK Set"),
    "shared secret": ('{"keys": [{"kty": "oct", "k": "YQ", "kid": "r"}]}', None, "its keys are oct"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_source_at_the_start(models, tmp_path, case):
    """A file without public keys, or an address without https, ends the start with the reason."""
    text, source, reason = WRONG[case]
    if text is not None:
        (tmp_path / "jwks.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(models, source or tmp_path / "jwks.json")
    assert reason in str(caught.value)


class Provider:
    """An identity provider: serves a JWK Set over https, and counts how often it is asked."""

    def __init__(self, folder, monkeypatch):
        self.text, self.count, self.redirect = "{}", 0, ""
        authority = Authority(folder, "provider")
        # The variable of OpenSSL for the authorities that are trusted.
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("login"))
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.count += 1
                self.send_response(302 if provider.redirect else 200)
                if provider.redirect:
                    self.send_header("Location", provider.redirect)
                self.end_headers()
                self.wfile.write(provider.text.encode())

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def provider(tmp_path, monkeypatch):
    provider = Provider(tmp_path, monkeypatch)
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


def test_keys_are_fetched(models, provider, signers):
    """Keys come from an https address, once: a request never asks it, whatever its token names."""
    provider.text = jwks(signers, "r")
    client = build(models, provider.url)
    assert post(client, signed(signers)).status_code == 200
    for number in range(20):
        assert post(client, signed(signers, header={"kid": f"unknown {number}"})).status_code == 401
    assert provider.count == 1


def test_an_address_that_fails(models, provider, signers, caplog):
    """While the address answers nothing of use, tokens get 503 with Retry-After; then its keys are known."""
    provider.text = "<html>"
    client = build(models, provider.url)
    answer = post(client, signed(signers))
    assert (answer.status_code, answer.json["code"]) == (503, "not_ready")
    assert int(answer.headers["Retry-After"]) > 0
    assert "no JWK Set" in caplog.text
    provider.text = jwks(signers)
    eventually(lambda: post(client, signed(signers)).status_code == 200)


@pytest.mark.parametrize("place", ["file", "address"])
def test_a_worker_that_starts_meanwhile(provider, tmp_path, signers, caplog, place):
    """A worker that starts while the keys cannot be read takes those that the others have read."""
    path, copies = tmp_path / "jwks.json", SharedCopies()
    source = str(path) if place == "file" else provider.url
    path.write_text(jwks(signers, "r"))
    provider.text = jwks(signers, "r")
    assert len(Signers(source, copies).of("r")) == 1
    path.write_text("{")
    provider.text = "<html>"
    late = Signers(source, copies)
    assert (len(late.of("r")), late.of("e")) == (1, [])
    assert "the ones known stay" in caplog.text


def test_redirects_to_plain_http_are_not_followed(models, provider, signers, caplog):
    """Keys are not read from where anybody on the way could change them."""
    provider.redirect = f"http://127.0.0.1:{provider.server.server_port}/"
    client = build(models, provider.url)
    assert post(client, signed(signers)).status_code == 503
    assert "which is not https" in caplog.text


def test_the_subject_is_the_name(client, signers):
    """Requests with a token count by its subject, cut to a bounded length."""
    token = signed(signers, sub="a" * 300, scope="metrics predict:*")
    post(client, token)
    text = client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    assert f'unpickled_key_requests_total{{key="{"a" * 64}...",status="2xx"}} 1.0' in text


def test_a_new_key_of_the_provider(models, provider, signers, monkeypatch):
    """A token of a key that is not known makes the server fetch the keys again; the request does not wait."""
    monkeypatch.setattr("unpickled.server.access.signers._ASKED", 0.0)
    provider.text = jwks(signers, "r")
    client = build(models, provider.url)
    provider.text = jwks(signers, "r", "e")
    assert post(client, signed(signers, "e")).status_code == 401
    eventually(lambda: post(client, signed(signers, "e")).status_code == 200)
    assert provider.count >= 2
