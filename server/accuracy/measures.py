"""Figures of a report about accuracy as text, for the tables in a terminal and on a page."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from unpickled.server.accuracy.report import Estimate, TargetAccuracy, VersionAccuracy


class Measure(NamedTuple):
    """A figure of a classifier, now and as it was when the model was exported."""

    figure: str
    now: str
    before: str


def headings(version: VersionAccuracy) -> tuple[str, str, str]:
    """The columns of ``measures``."""
    return "figure", "now", _before(version.trained is None or version.trained.held_out)


def target_headings(targets: Sequence[TargetAccuracy]) -> tuple[str, ...]:
    """The columns of ``of_target``."""
    before = _before(all(target.held_out for target in targets))
    return "target", "rows", "mean absolute", before, "root mean square", "bias"


def _before(held_out: bool) -> str:
    return "held out" if held_out else "training"


def measures(version: VersionAccuracy) -> Iterator[Measure]:
    """The figures that are defined."""
    figures, trained = version.figures, version.trained
    if figures.accuracy is not None:
        yield Measure("accuracy", figures.accuracy.percent, f"{trained.accuracy:.1%}" if trained else "-")
    if figures.log_loss is not None:
        loss = trained.log_loss if trained else None
        yield Measure("log loss", figures.log_loss.text(".3f"), "-" if loss is None else f"{loss:.3f}")
    if figures.brier is not None:
        yield Measure("Brier score", figures.brier.text(".3f"), "-")
    if figures.calibration is not None:
        error, chance = figures.calibration.figures
        yield Measure("calibration error", f"{error} (by chance up to {chance})", "-")


def of_target(target: TargetAccuracy) -> tuple[str, ...]:
    """The name of a target, and its errors."""
    trained = "-" if target.trained_mae is None else f"{target.trained_mae:.4g}"
    others = (or_dash(each) for each in (target.rmse, target.bias))
    return target.target, f"{target.rows:,}", or_dash(target.mae), trained, *others


def or_dash(figure: Estimate | None, form: str = ".4g") -> str:
    """A figure with its interval in a format; a dash where it is not defined."""
    return "-" if figure is None else figure.text(form)
