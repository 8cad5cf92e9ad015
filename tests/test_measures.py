"""Figures about accuracy as tables have them."""

from msgspec.structs import replace

from unpickled.server.accuracy.measures import headings, measures, target_headings
from unpickled.server.accuracy.report import Calibration, Figures, TargetAccuracy, Trained, VersionAccuracy


def test_a_calibration_error_is_told_from_that_by_chance():
    """Both have three decimals, and more where these are the same."""
    near = Calibration(error=0.08124, by_chance=0.08119, bins=())
    assert near.figures == ("0.08124", "0.08119")
    assert replace(near, by_chance=0.05).figures == ("0.081", "0.050")
    assert replace(near, by_chance=near.error).figures == ("0.081", "0.081")
    version = VersionAccuracy(version=1, predicted=9, figures=Figures(rows=9, calibration=near))
    assert list(measures(version)) == [("calibration error", "0.08124 (by chance up to 0.08119)", "-")]


def test_a_column_says_on_which_rows_it_was_measured():
    """Figures of held-out rows are not called those of training, nor the other way round."""
    trained = Trained(accuracy=0.9, rows=30)
    version = VersionAccuracy(version=1, predicted=9, figures=Figures(rows=9), trained=trained)
    assert headings(version)[2] == "held out"
    assert headings(replace(version, trained=replace(trained, held_out=False)))[2] == "training"
    target = TargetAccuracy(target="y", rows=9)
    assert target_headings([target])[3] == "held out"
    assert target_headings([replace(target, held_out=False)])[3] == "training"
