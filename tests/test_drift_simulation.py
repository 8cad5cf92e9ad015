"""Drift in simulated windows: how often it is a false alarm, and how often a shift is found.

Run as a program, it prints the tables of docs/how-to/drift.md.
"""

import numpy as np
import pandas as pd
import pytest
from handmade import MANIFEST
from msgspec.structs import replace

from unpickled.export.reference import make
from unpickled.server.artifact.manifest import Feature, Input
from unpickled.server.drift.binning import Binning
from unpickled.server.drift.judgement import judge
from unpickled.server.model.feeds import Matrix

WINDOWS = 1000
# Windows that share one training table.
SHARED = 5
CITIES = np.array([f"city {number:02}" for number in range(40)], object)
# A few frequent cities and many rare ones; three classes, one of which is rare.
FREQUENCY = 1 / np.arange(1, 41) ** 1.2
KINDS = ("normal", "long tail", "tenths", "counts")


def table(rng, rows, features):
    """Made-up rows: normal numbers, some with gaps, with ties and with zeros; of five, the last are texts."""
    columns = {}
    for place in range(features):
        kind = "city" if features == place + 1 == 5 else KINDS[place % len(KINDS)]
        if kind == "normal":
            values = rng.normal(size=rows)
        elif kind == "long tail":
            values = np.where(rng.random(rows) < 0.03, np.nan, rng.lognormal(0, 2, rows))
        elif kind == "tenths":
            values = np.round(rng.normal(5, 0.8, rows), 1)
        elif kind == "counts":
            values = np.where(rng.random(rows) < 0.6, 0.0, rng.poisson(3, rows))
        else:
            values = rng.choice(CITIES, rows, p=FREQUENCY / FREQUENCY.sum())
        columns[f"{kind} {place}"] = values
    return columns


def labels(rng, rows):
    return rng.choice(3, rows, p=[0.6, 0.38, 0.02])


def trained(rng, rows, features):
    """The cells of a model that was trained on so many rows."""
    frame = pd.DataFrame(table(rng, rows, features))
    described = tuple(_feature(name, frame[name]) for name in frame)
    inputs = tuple(
        Input(name=kind, dtype=dtype, features=tuple(f.name for f in described if f.kind == kind))
        for kind, dtype in (("number", "float64"), ("category", "string"))
        if any(f.kind == kind for f in described)
    )
    names = ("a", "b", "c")
    reference = make(frame, described, labels(rng, rows), (0, 1, 2), names)
    golden = replace(MANIFEST.golden, scores=((0.6, 0.3, 0.1),) * 2)
    return Binning(
        replace(
            MANIFEST, features=described, inputs=inputs, reference=reference, classes=(0, 1, 2),
            class_names=names, golden=golden,
        )
    )  # fmt: skip


def _feature(name, column):
    if not pd.api.types.is_numeric_dtype(column):
        return Feature(name=name, kind="category", missing=True, categories=tuple(sorted(set(column))))
    ends = float(column.min()), float(column.max())
    return Feature(name=name, kind="number", missing=True, minimum=ends[0], maximum=ends[1])


def window(rng, binning, rows, features, shift=0.0, outlier=None):
    """The judgement of a window of so many rows, whose first feature is shifted by so many sigmas."""
    columns = table(rng, rows, features)
    first = next(iter(columns))
    columns[first] += shift
    if outlier is not None:
        columns[first][0] = outlier
    if all(column.dtype == np.float64 for column in columns.values()):
        asked = Matrix(np.stack([*columns.values()], axis=1))
    else:
        asked = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    return judge(1, binning, binning.count(asked, labels(rng, rows), np.zeros((rows, 3))))


def alarms(training, rows, features, windows=WINDOWS, **shifted):
    """The shares of windows that are an alarm, whose first feature is one, and with its PSI above 0.1."""
    rng = np.random.default_rng([training, rows, features])
    found = np.zeros(3)
    for number in range(windows):
        if number % SHARED == 0:
            binning = trained(rng, training, features)
        judged = window(rng, binning, rows, features, **shifted)
        first = judged.features[0]
        found += judged.drifted, first.drifted, first.psi is not None and first.psi > 0.1
    return found / windows


@pytest.mark.long
@pytest.mark.parametrize("rows", [100, 500, 1000, 10_000])
@pytest.mark.parametrize(("training", "features"), [(120, 5), (1000, 5), (10_000, 5), (1000, 30)])
def test_no_shift(training, rows, features):
    """Without a shift, at most 0.5% of the windows are an alarm, over all of their features."""
    assert alarms(training, rows, features)[0] <= 0.005


@pytest.mark.long
@pytest.mark.parametrize("outlier", [None, 1e9])
@pytest.mark.parametrize(("training", "features"), [(1000, 5), (10_000, 5), (1000, 30)])
def test_half_a_sigma(training, features, outlier):
    """Half a sigma in one feature is found in 99% of windows of 1,000 rows; one value of 1e9 hides none."""
    assert alarms(training, 1000, features, shift=0.5, outlier=outlier)[1] >= 0.99


@pytest.mark.long
@pytest.mark.parametrize("outlier", [None, 1e9])
def test_a_sigma_beside_a_small_training_table(outlier):
    """A hundred training rows show a shift of one sigma."""
    assert alarms(120, 1000, 5, shift=1.0, outlier=outlier)[1] >= 0.99


def test_a_few_windows():
    """A few windows show what the long tests show of a thousand."""
    assert alarms(1000, 1000, 5, windows=20)[0] == 0
    assert alarms(1000, 1000, 5, windows=20, shift=0.5, outlier=1e9)[1] == 1


def _line(cells):
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def main():
    """Print the tables."""
    sizes = (100, 500, 1000, 10_000)
    _line(["training rows", "features", *(f"{rows:,} rows" for rows in sizes)])
    for training, features in ((120, 5), (1000, 5), (10_000, 5), (120, 30), (1000, 30), (10_000, 30)):
        found = [alarms(training, rows, features) for rows in sizes]
        _line([f"{training:,}", features, *(f"{100 * share[0]:.1f}%" for share in found)])
        _line(["first PSI > 0.1", "", *(f"{100 * share[2]:.1f}%" for share in found)])
    for training in (120, 300, 500, 1000, 10_000):
        shifts = [
            {"shift": 0.5},
            {"shift": 0.5, "outlier": 1e9},
            {"shift": 1.0},
            {"shift": 1.0, "outlier": 1e9},
        ]
        _line([f"{training:,}", *(f"{100 * alarms(training, 1000, 5, **s)[1]:.1f}%" for s in shifts)])


if __name__ == "__main__":
    main()
