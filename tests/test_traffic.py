"""Traffic that is split between versions: by chance as the weights say, by key always the same."""

import json
import os
import subprocess
import sys
from collections import Counter
from functools import partial
from math import sqrt

import pytest
from conftest import PATIENCE, ROOT

from unpickled.server.serve.split import Split

KEYS = [f"customer-{number}" for number in range(100_000)]
THREE = {3: 0.2, 4: 0.7, 5: 0.1}
# Of the first keys.
PROMISED = [5, 4, 4, 4, 4, 4, 3, 4, 3, 4, 3, 3, 3, 3, 3, 4, 4, 4, 3, 4, 4, 4, 4, 4]
SOME = KEYS[:20_000]
# Prints the version of each of the keys that it reads.
PLACES = """
import json, sys
from unpickled.server.serve.split import Split
weights, keys = json.load(sys.stdin)
choices = [(int(version), lambda _, version=int(version): version, weights[version]) for version in weights]
split = Split(choices, "X-Request-Key", "iris")
print(json.dumps([split({"HTTP_X_REQUEST_KEY": key}) for key in keys]))
"""


def answer(version, environ):
    return f"200 version {version}", (), b""


def split(weights, salt="iris"):
    """A split whose versions answer with their number."""
    return Split(
        [(version, partial(answer, version), weight) for version, weight in weights.items()],
        "X-Request-Key",
        salt,
    )


def places(weights, keys=KEYS, salt="iris"):
    """The version that answers each key."""
    target = split(weights, salt)
    return [int(target({"HTTP_X_REQUEST_KEY": key})[0].split()[-1]) for key in keys]


def by_chance(weights, environ):
    target = split(weights)
    return [int(target(environ)[0].split()[-1]) for _ in KEYS]


def is_as(found, weights):
    """Whether versions are as frequent as their weights say, within five standard deviations."""
    counts, total = Counter(found), len(found)
    return set(counts) == set(weights) and all(
        abs(counts[version] - total * weight) < 5 * sqrt(total * weight * (1 - weight))
        for version, weight in weights.items()
    )


@pytest.mark.parametrize("weights", [{3: 0.95, 4: 0.05}, THREE, {1: 0.5, 2: 0.5}])
def test_weights_hold(weights):
    """Each version answers its share of requests, whether these have keys, empty ones or none."""
    assert is_as(places(weights), weights)
    assert is_as(by_chance(weights, {}), weights)
    assert is_as(by_chance(weights, {"HTTP_X_REQUEST_KEY": ""}), weights)


def test_a_key_has_one_version_everywhere():
    """Another process, with another seed of Python's own hashes, chooses as this one does."""
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    told = subprocess.run(
        [sys.executable, "-c", PLACES],
        input=json.dumps([THREE, KEYS[:500]]).encode(),
        cwd=ROOT,
        env=environ,
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    assert json.loads(told.stdout) == places(THREE, KEYS[:500])


def test_keys_stay_through_upgrades():
    """What a key falls to is a promise: a change of this line moves every caller."""
    assert places(THREE, KEYS[:24]) == PROMISED


@pytest.mark.parametrize("raised", [3, 4, 5])
def test_a_raised_weight_draws_keys(raised):
    """Keys move towards the version whose weight grows, and between no others."""
    before = places(THREE, SOME)
    after = places({**THREE, raised: 2 * THREE[raised]}, SOME)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(moved) > 500
    assert {new for _, new in moved} == {raised}


def test_an_ended_version_moves_its_own_keys():
    """Those of the versions that stay, stay; the order they are given in is of no account."""
    before = places(THREE, SOME)
    after = places({5: 0.1, 4: 0.7}, SOME)
    assert all(old == new for old, new in zip(before, after, strict=True) if old != 3)


def test_no_weight_no_requests():
    """A version with weight 0 answers nobody, wherever it stands."""
    for weights in ({3: 0.0, 4: 1.0}, {3: 1.0, 4: 0.0}, {3: 0.1, 4: 0.0, 5: 0.9}):
        found = {*places(weights, KEYS[:2000]), *by_chance(weights, {})}
        assert found == {version for version, weight in weights.items() if weight}


def test_models_split_their_own_way():
    """Callers on the canary of one model are not those on the canary of another."""
    weights = {3: 0.5, 4: 0.5}
    same = sum(map(int.__eq__, places(weights, SOME), places(weights, SOME, "forest")))
    assert abs(same - len(SOME) / 2) < 5 * sqrt(len(SOME) / 4)


def test_any_text_is_a_key():
    """Header values are text of bytes as they came: latin-1, by whatever they were written in."""
    keys = ["Köln".encode().decode("latin-1"), "\xff\xfe", " ", "k" * 10_000, "\x00", "東京"]
    assert places(THREE, keys) == places(THREE, keys)
