"""Rate limits: buckets that all workers share, by key or by address."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import FLOWER, serving
from hypothesis import given
from hypothesis import strategies as st

from unpickled.server import Config, create_app
from unpickled.server.access import keys
from unpickled.server.access.buckets import Buckets
from unpickled.server.errors import ConfigError

BODY = json.dumps({"features": FLOWER}).encode()
# So slow that no token comes back while a test runs.
SLOW = 0.0001


def entry(name, secret, more=""):
    scopes = 'scopes = ["predict:*", "read"]'
    return f'[[key]]\nname = "{name}"\nsha256 = "{keys.digest(secret)}"\n{scopes}\n{more}\n'


def post(client, secret=None, **more):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return client.post("/predict", data=BODY, headers=headers, **more)


def buckets(places=64):
    return Buckets(memoryview(bytearray(16 * places)))


@given(
    rate=st.floats(0.5, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_a_bucket_is_a_bucket_of_tokens(rate, burst, gaps):
    """A bucket lets through what a count of tokens does: ``burst`` at first, and ``rate`` a second."""
    bucket, tokens, now = buckets().of("a", rate, burst), float(burst), 1000.0
    for gap in gaps:
        now, tokens = now + gap, min(burst, tokens + gap * rate)
        wait = bucket.take(now)
        if abs(tokens - 1) > 1e-6:
            assert (wait == 0) == (tokens > 1)
        if wait:
            assert wait == pytest.approx((1 - tokens) / rate, abs=1e-6)
        tokens -= wait == 0


def test_full_buckets_make_room():
    """Where callers are more than places, those whose buckets are full again give their places away."""
    some = buckets(8)
    busy = some.of("busy", 0.001, 1)
    assert busy.take(0.0) == 0
    for number in range(100):
        assert some.of(f"other {number}", 1000.0, 1).take(number / 100) == 0
        assert busy.take(number / 100) > 0


def test_a_key_over_its_limit(models, tmp_path):
    """Beyond its burst a key gets 429, and when to ask again; others go on. The pages count as well."""
    path, secrets = tmp_path / "keys.toml", [keys.fresh(), keys.fresh()]
    path.write_text(entry("slow", secrets[0]) + entry("free", secrets[1], "rate_limit = 1000000"))
    config = Config.of(
        models=str(models.path), default_model="iris", api_keys=str(path), rate_limit=SLOW, rate_burst=3
    )
    client = create_app(config).test_client()
    assert client.get("/models", headers={"X-API-Key": secrets[0]}).status_code == 200
    statuses = [post(client, secrets[0]).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    answer = post(client, secrets[0])
    assert (answer.json["code"], answer.json["burst"]) == ("rate_limited", 3)
    assert 0 < int(answer.headers["Retry-After"]) <= 1 / SLOW
    assert [post(client, secrets[1]).status_code for _ in range(9)] == [200] * 9
    assert client.get("/readyz").status_code == 200


def test_retry_after_is_true(models):
    """A client that waits as Retry-After says is let through."""
    config = Config.of(models=str(models.path), default_model="iris", rate_limit=1, rate_burst=1)
    client = create_app(config).test_client()
    assert post(client).status_code == 200
    # A second later the bucket is full again: a machine that is busy may take that long.
    refused = next(answer for answer in iter(lambda: post(client), None) if answer.status_code == 429)
    time.sleep(int(refused.headers["Retry-After"]))
    assert post(client).status_code == 200


@pytest.mark.parametrize(
    ("address", "neighbour", "shared"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "", True),
    ],
)
def test_addresses_without_keys(models, address, neighbour, shared):
    """Without keys the limit is that of an address, or of the /64 network of an IPv6 address."""
    config = Config.of(models=str(models.path), default_model="iris", rate_limit=SLOW, rate_burst=1)
    client = create_app(config).test_client()
    assert post(client, environ_base={"REMOTE_ADDR": address}).status_code == 200
    assert post(client, environ_base={"REMOTE_ADDR": address}).status_code == 429
    assert (post(client, environ_base={"REMOTE_ADDR": neighbour}).status_code == 429) == shared


def test_workers_share_a_bucket(models, tmp_path):
    """Several workers together let through what the limit says, whatever connection a request comes by."""
    secret = keys.fresh()
    (tmp_path / "keys.toml").write_text(entry("a", secret, f"rate_limit = {SLOW}\nrate_burst = 40"))
    flags = ("--workers", "3", "--default-model", "iris", "--api-keys", str(tmp_path / "keys.toml"))

    def ask(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/predict", BODY, {"X-API-Key": secret})
        status = connection.getresponse().status
        connection.close()
        return status

    with serving(tmp_path, *flags, models=models.path) as server, ThreadPoolExecutor(4) as pool:
        statuses = [ask(0) for _ in range(60)] + list(pool.map(ask, range(60)))
    assert (statuses[:40], set(statuses[40:])) == ([200] * 40, {429})


@pytest.mark.parametrize(
    "values",
    [{"rate_burst": 5}, {"jwt_audience": "a"}, {"jwt_issuer": "a"}],
    ids=lambda values: next(iter(values)),
)
def test_a_setting_without_another(models, values):
    """A setting that does nothing without another one is refused."""
    with pytest.raises(ConfigError, match="does nothing without"):
        create_app(Config.of(models=str(models.path), **values))
