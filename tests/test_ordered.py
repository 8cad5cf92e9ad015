"""Floats as integers in the same order."""

import numpy as np
import pytest

from unpickled.export.ordered import bisect, floats, keys


def numbers(dtype: str) -> np.ndarray:
    """Limits, zeros, subnormals and numbers of many magnitudes of a type, in order."""
    info = np.finfo(dtype)
    random = np.random.default_rng(0)
    magnitudes = random.normal(size=1000) * 10.0 ** random.uniform(-30, 30, 1000)
    smallest = info.smallest_subnormal
    special = [info.min, info.max, info.tiny, smallest, -smallest, 0.0, np.inf, -np.inf]
    return np.unique(np.concatenate([magnitudes, special]).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keys_keep_the_order_and_find_the_way_back(dtype):
    """Every float has a key of its own, in order."""
    ordered = numbers(dtype)
    assert (np.diff(keys(ordered, dtype)) > 0).all()
    assert np.array_equal(floats(keys(ordered, dtype), dtype), ordered)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neighbours_differ_by_one(dtype):
    """The key of the next float is the next integer, across zero too."""
    ordered = numbers(dtype)[1:-2]
    above = np.nextafter(ordered, np.array(np.inf, dtype))
    assert np.array_equal(keys(above, dtype), keys(ordered, dtype) + 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_zeros_have_one_key(dtype):
    """Both zeros have the key 0, whose float is 0.0."""
    zeros = np.array([-0.0, 0.0], dtype)
    assert keys(zeros, dtype).tolist() == [0, 0]
    assert not np.signbit(floats(keys(zeros, dtype), dtype)).any()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("limit", [-np.inf, -1e300, -0.0, 0.0, 5e-324, 0.1, 1e300])
def test_bisection_ends_at_the_last_float_that_fits(limit, depth):
    """Bisection ends with the keys of two neighbours, one on each side of the limit."""
    low, high = bisect(lambda k: floats(k) <= limit, keys([-np.inf]), keys([np.inf]) + 1, depth)
    assert (floats(low) == limit).all()
    assert floats(high) == np.nextafter(limit, np.inf)
