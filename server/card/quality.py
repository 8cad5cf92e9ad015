"""How good a version is, in one sentence and in figures."""

from collections.abc import Iterator, Sequence
from html import escape

from unpickled.server.artifact.card import Card, Measured
from unpickled.server.artifact.manifest import Errors, Manifest, Metrics
from unpickled.server.card.parts import interval, percent, three
from unpickled.server.card.plot import figure
from unpickled.server.quote import counted, printable, quoted
from unpickled.server.report.page import sentence

# Targets with a sentence of their own at the top.
_TARGETS = 3


def verdict(manifest: Manifest) -> str:
    """How good the version is, in a sentence or two."""
    card, training = manifest.card, manifest.training
    where = _where(training.held_out is not None if card is None else card.held_out)
    if card is not None and card.accuracy is not None:
        return _right(card.accuracy, card.rows, where) + _always(card)
    if card is not None and card.targets:
        baselines = {each.target: each.baseline for each in training.errors if each.rows == card.rows}
        return (
            "; ".join(
                f"predictions{_of(each.name, card.targets)} are off by {interval(each.mae, figure)} on average"
                f"{_median(baselines.get(each.name))}"
                for each in card.targets[:_TARGETS]
            )
            + f", measured on {counted(card.rows, 'row')} {where}"
        )
    if training.metrics is not None:
        rows = sum(each.support for each in training.metrics.classes)
        return _right(Measured(value=training.metrics.accuracy), rows, where)
    if training.errors:
        return (
            "; ".join(
                f"predictions{_of(each.target, training.errors)} are off by {figure(each.mae)} on average"
                f"{_median(each.baseline)}"
                for each in training.errors[:_TARGETS]
            )
            + f", measured on {counted(training.errors[0].rows, 'row')} {where}"
        )
    return "how good it is was not measured: the export was given no true answers"


def _where(held_out: bool) -> str:
    if held_out:
        return "held out from training"
    return "that the export was given, perhaps those of training, which flatter a model"


def _right(accuracy: Measured, rows: int, where: str) -> str:
    return f"it is right for {interval(accuracy, percent)} of {counted(rows, 'row')} {where}"


def _always(card: Card) -> str:
    """A clause about a model that always gives the same answer."""
    most = max(card.classes, key=lambda each: each.rows, default=None)
    if most is None or not card.rows:
        return ""
    return f"; to always answer {quoted(most.name)} would be right for {percent(most.rows / card.rows)}"


def _of(name: str, targets: Sequence[object]) -> str:
    return f" of {quoted(name)}" if len(targets) > 1 else ""


def _median(baseline: float | None) -> str:
    return "" if baseline is None else f" (always answering the median: {figure(baseline)})"


def figures(manifest: Manifest) -> str:
    """The figures of a version, large, each with its interval."""
    items = "".join(
        f"<li><strong>{escape(value)}</strong>{sentence(printable(name)).removesuffix('.')}"
        f"<small>{escape(remark)}</small></li>"
        for name, value, remark in _figures(manifest)
    )
    return f'<ul class="figures">{items}</ul>' if items else ""


def _figures(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    card, training = manifest.card, manifest.training
    if card is None:
        yield from _of_training(training.metrics, training.errors)
        return
    if card.accuracy is not None:
        yield "accuracy", percent(card.accuracy.value), _ends(card.accuracy, "percent")
    if card.loss != "mean absolute error":
        yield card.loss, three(card.loss_value.value), _ends(card.loss_value, "three")
    for target in card.targets[:_TARGETS]:
        of = _of(target.name, card.targets)
        yield f"mean absolute error{of}", figure(target.mae.value), _ends(target.mae)
        yield f"root mean squared error{of}", figure(target.rmse.value), _ends(target.rmse)
        if target.r2 is not None:
            yield f"R²{of}", three(target.r2.value), _ends(target.r2, "three")
    yield f"{'held-out' if card.held_out else 'given'} rows", f"{card.rows:,}", ""


def _of_training(metrics: Metrics | None, errors: Sequence[Errors]) -> Iterator[tuple[str, str, str]]:
    if metrics is not None:
        yield "accuracy", percent(metrics.accuracy), ""
        if metrics.log_loss is not None:
            yield "log loss", three(metrics.log_loss), ""
    for each in errors[:_TARGETS]:
        yield f"mean absolute error{_of(each.target, errors)}", figure(each.mae), ""


_FORMS = {"percent": percent, "three": three, "figure": figure}


def _ends(measured: Measured, form: str = "figure") -> str:
    write = _FORMS[form]
    if measured.lowest is None or measured.highest is None:
        return ""
    return f"{write(measured.lowest)} to {write(measured.highest)}"
