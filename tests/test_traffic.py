"""Traffic that is split between versions: by chance as the weights say, by key always alike."""

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
# The versions of the first keys.
PROMISED = [5, 4, 4, 4, 4, 4, 3, 4, 3, 4, 3, 3, 3, 3, 3, 4, 4, 4, 3, 4, 4, 4, 4, 4]
FIRST_KEYS = KEYS[:20_000]
# Reads weights and keys, and prints the version of each key.
PLACES = """
import json, sys
from unpickled.server.serve.split import Split
weights, keys = json.load(sys.stdin)
choices = [(int(version), lambda _, version=int(version): version, weights[version]) for version in weights]
split = Split(choices, "X-Request-Key", "iris")
print(json.dumps([split({"HTTP_X_REQUEST_KEY": key}) for key in keys]))
"""


def answer(version, environ):
    """The answer of a version to any request."""
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
    """The version that answers each of as many requests as there are keys."""
    target = split(weights)
    return [int(target(environ)[0].split()[-1]) for _ in KEYS]


def is_as(versions, weights):
    """Whether versions are as frequent as their weights say, within five standard deviations."""
    counts, total = Counter(versions), len(versions)
    return set(counts) == set(weights) and all(
        abs(counts[version] - total * weight) < 5 * sqrt(total * weight * (1 - weight))
        for version, weight in weights.items()
    )


@pytest.mark.parametrize("weights", [{3: 0.95, 4: 0.05}, THREE, {1: 0.5, 2: 0.5}])
def test_weights_hold(weights):
    """Each version answers its share of requests, with keys, with empty ones, and without."""
    assert is_as(places(weights), weights)
    assert is_as(by_chance(weights, {}), weights)
    assert is_as(by_chance(weights, {"HTTP_X_REQUEST_KEY": ""}), weights)


def test_a_key_has_one_version_everywhere():
    """Another process, with another seed of Python's hashes, chooses the same version."""
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    completed = subprocess.run(
        [sys.executable, "-c", PLACES],
        input=json.dumps([THREE, KEYS[:500]]).encode(),
        cwd=ROOT,
        env=environ,
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    assert json.loads(completed.stdout) == places(THREE, KEYS[:500])


def test_keys_stay_through_upgrades():
    """The version of a key is a promise: a change of this list moves every caller."""
    assert places(THREE, KEYS[:24]) == PROMISED


@pytest.mark.parametrize("raised", [3, 4, 5])
def test_a_raised_weight_draws_keys(raised):
    """Keys move to the version whose weight grows, and between no others."""
    before = places(THREE, FIRST_KEYS)
    after = places({**THREE, raised: 2 * THREE[raised]}, FIRST_KEYS)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(moved) > 500
    assert {new for _, new in moved} == {raised}


def test_an_ended_version_moves_its_own_keys():
    """A version that is removed moves its own keys only, whatever the order of the versions."""
    before = places(THREE, FIRST_KEYS)
    after = places({5: 0.1, 4: 0.7}, FIRST_KEYS)
    assert all(old == new for old, new in zip(before, after, strict=True) if old != 3)


def test_no_weight_no_requests():
    """A version with weight 0 answers no request, wherever it stands."""
    for weights in ({3: 0.0, 4: 1.0}, {3: 1.0, 4: 0.0}, {3: 0.1, 4: 0.0, 5: 0.9}):
        versions = {*places(weights, KEYS[:2000]), *by_chance(weights, {})}
        assert versions == {version for version, weight in weights.items() if weight}


def test_models_split_their_own_way():
    """A key that gets the canary of one model need not get that of another."""
    weights = {3: 0.5, 4: 0.5}
    agreeing = sum(map(int.__eq__, places(weights, FIRST_KEYS), places(weights, FIRST_KEYS, "forest")))
    assert abs(agreeing - len(FIRST_KEYS) / 2) < 5 * sqrt(len(FIRST_KEYS) / 4)


def test_any_text_is_a_key():
    """A key is the text of a header's bytes in latin-1, whatever their encoding was."""
    keys = ["Köln".encode().decode("latin-1"), "\xff\xfe", " ", "k" * 10_000, "\x00", "東京"]
    assert places(THREE, keys) == places(THREE, keys)
