"""How good a version is, in one sentence and in figures."""

from collections.abc import Iterator, Sequence
from html import escape

from unpickled.server.artifact.card import Card, Measured
from unpickled.server.artifact.manifest import Errors, Manifest, Training
from unpickled.server.card.parts import Write, digits, interval, percent, three
from unpickled.server.quote import counted, printable, quoted
from unpickled.server.report.page import sentence

# Targets with a sentence of their own at the top.
_TARGETS = 3


def verdict(manifest: Manifest) -> str:
    """How good the version is, in a sentence or two."""
    card, training = manifest.card, manifest.training
    return _of_card(card, training.errors) if card else _of_training(training)


def _of_card(card: Card, errors: Sequence[Errors]) -> str:
    where = f"{counted(card.rows, 'row')} {_where(card.held_out)}"
    if card.accuracy is not None:
        return f"it is right for {interval(card.accuracy, percent)} of {where}{_always(card)}"
    baselines = {each.target: each.baseline for each in errors if each.rows == card.rows}
    several = len(card.targets) > 1
    maes = [
        _off(each.name if several else "", interval(each.mae, digits), baselines.get(each.name))
        for each in card.targets
    ]
    return f"{'; '.join(maes[:_TARGETS])}, on {where}" if maes else ""


def _of_training(training: Training) -> str:
    where = _where(training.held_out is not None)
    if training.metrics is not None:
        rows = counted(sum(each.support for each in training.metrics.classes), "row")
        return f"it is right for {percent(training.metrics.accuracy)} of {rows} {where}"
    several = len(training.errors) > 1
    maes = [_off(each.target if several else "", digits(each.mae), each.baseline) for each in training.errors]
    if not maes:
        return "how good it is was not measured: the export was given no true answers"
    return f"{'; '.join(maes[:_TARGETS])}, on {counted(training.errors[0].rows, 'row')} {where}"


def _off(target: str, mae: str, baseline: float | None) -> str:
    """A clause about the errors of one target, which is named where there are several."""
    of = f" of {quoted(target)}" if target else ""
    median = (
        "" if baseline is None else f", and would be by {digits(baseline)} if they were always the median"
    )
    return f"predictions{of} are off by {mae} on average{median}"


def _where(held_out: bool) -> str:
    if held_out:
        return "held out from training"
    return "that the export was given, perhaps those of training, which flatter a model"


def _always(card: Card) -> str:
    """A clause about a model that always gives the same answer."""
    most = max(card.classes, key=lambda each: each.rows, default=None)
    if most is None or not card.rows:
        return ""
    return f"; to always answer {quoted(most.name)} would be right for {percent(most.rows / card.rows)}"


def _of(name: str, targets: Sequence[object]) -> str:
    return f" of {quoted(name)}" if len(targets) > 1 else ""


def figures(manifest: Manifest) -> str:
    """The figures of a version, large, each with its interval."""
    items = "".join(
        f"<li><strong>{escape(value)}</strong>{sentence(printable(name)).removesuffix('.')}"
        f"<small>{escape(remark)}</small></li>"
        for name, value, remark in _figures(manifest)
    )
    return f'<ul class="figures">{items}</ul>' if items else ""


def _figures(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """Name, figure and interval."""
    card, training = manifest.card, manifest.training
    if card is None:
        yield from _without_card(training)
        return
    if card.accuracy is not None:
        yield "accuracy", percent(card.accuracy.value), _ends(card.accuracy, percent)
    if card.loss != "mean absolute error":
        yield card.loss, three(card.loss_value.value), _ends(card.loss_value, three)
    for target in card.targets[:_TARGETS]:
        of = _of(target.name, card.targets)
        yield f"mean absolute error{of}", digits(target.mae.value), _ends(target.mae, digits)
        yield f"root mean squared error{of}", digits(target.rmse.value), _ends(target.rmse, digits)
        if target.r2 is not None:
            yield f"R²{of}", three(target.r2.value), _ends(target.r2, three)
    yield f"{'held-out' if card.held_out else 'given'} rows", f"{card.rows:,}", ""


def _without_card(training: Training) -> Iterator[tuple[str, str, str]]:
    if training.metrics is not None:
        yield "accuracy", percent(training.metrics.accuracy), ""
        if training.metrics.log_loss is not None:
            yield "log loss", three(training.metrics.log_loss), ""
    for each in training.errors[:_TARGETS]:
        yield f"mean absolute error{_of(each.target, training.errors)}", digits(each.mae), ""


def _ends(measured: Measured, write: Write) -> str:
    if measured.lowest is None or measured.highest is None:
        return ""
    return f"{write(measured.lowest)} to {write(measured.highest)}"
