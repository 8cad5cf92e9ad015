"""The quality of a classifier, drawn: curves, thresholds, calibration and confusion."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.intervals import Interval
from unpickled.server.artifact.card import CalibrationBin, Card, ClassCard, Threshold
from unpickled.server.artifact.manifest import Manifest, Metrics
from unpickled.server.card import palette
from unpickled.server.card.parts import (
    Write,
    below,
    digits,
    figures,
    legend,
    or_dash,
    percent,
    picture,
    pictures,
    three,
)
from unpickled.server.card.plot import Plot, shares
from unpickled.server.quote import counted
from unpickled.server.report.table import confusion, short_name, table

# The largest confusion matrix that fits a page, and the confusions that are listed of larger ones.
_MATRIX, _CONFUSIONS = 14, 20
# Lines of a table of thresholds, and of the table of classes.
_THRESHOLDS, _CLASSES = 10, 100

Confusion = Sequence[Sequence[int]]


def quality(manifest: Manifest) -> str:
    """Every picture and table about the classes of a version."""
    card, metrics = manifest.card, manifest.training.metrics
    if card is None:
        return _of_metrics(metrics) if metrics is not None else ""
    confusion = _same_rows(metrics, card)
    names = [each.name for each in card.classes]
    kinds = palette.colors(card)
    have_curves = any(each.thresholds for each in card.classes)
    curves = pictures([*_curves(card, kinds), *_calibration(card.calibration)])
    thresholds = pictures([*_thresholds(card, kinds), *_bins(card.calibration)])
    return "\n".join(
        [
            _confusion(names, confusion),
            below("Classes", _few(card.classes), _classes(card, confusion, kinds)),
            below("Curves", _CURVES if have_curves else "", curves) if curves else "",
            below("Thresholds and calibration", _THRESHOLDS_NOTE if have_curves else "", thresholds)
            if thresholds
            else "",
        ]
    )


def _of_metrics(metrics: Metrics) -> str:
    """The tables that files without a card have."""
    names = [each.name for each in metrics.classes]
    lines = (
        (
            short_name(each.name),
            f"{each.support:,}",
            percent(each.precision),
            percent(each.recall),
            three(each.f1),
        )
        for each in metrics.classes[:_CLASSES]
    )
    heads = ("class", "rows", "precision", "recall", "F1")
    return _confusion(names, metrics.confusion) + below("Classes", table("", heads, lines))


def _confusion(names: Sequence[str], counts: Confusion) -> str:
    if not counts:
        return ""
    if len(names) > _MATRIX:
        return below("Most frequent wrong answers", _confusions(names, counts))
    shown = [short_name(each, 24) for each in names]
    matrix = confusion(shown, zip(shown, counts, strict=True))
    return below("Truth (rows) and answers (columns)", matrix)


def _confusions(names: Sequence[str], counts: Confusion) -> str:
    """The most frequent wrong answers of many classes."""
    wrong = [
        (count, truth, answer)
        for truth, row in enumerate(counts)
        for answer, count in enumerate(row)
        if truth != answer and count
    ]
    lines = (
        (short_name(names[truth]), short_name(names[answer]), f"{count:,}")
        for count, truth, answer in sorted(wrong, reverse=True)[:_CONFUSIONS]
    )
    return table("", ("true class", "answer", "rows"), lines) or '<p class="note">No wrong answer.</p>'


def _few(classes: Sequence[ClassCard]) -> str:
    more = len(classes) - _CLASSES
    return f'<p class="note">The first {_CLASSES} of {len(classes)} classes.</p>' if more > 0 else ""


def _same_rows(metrics: Metrics | None, card: Card) -> Confusion:
    """The counts of labels that were taken for others, if they are those of the card's rows."""
    counts = metrics.confusion if metrics is not None else ()
    return counts if sum(map(sum, counts)) == card.rows and len(counts) == len(card.classes) else ()


def _classes(card: Card, counts: Confusion, kinds: Mapping[int, str]) -> str:
    heads = ("class", "rows", "precision", "recall", "ROC AUC", "average precision")
    return table(
        "",
        heads,
        (_class(card, place, counts, kinds.get(place)) for place in range(len(card.classes[:_CLASSES]))),
    )


def _class(card: Card, place: int, counts: Confusion, kind: str | None) -> tuple[str, ...]:
    found = card.classes[place]
    answered = sum(row[place] for row in counts)
    right, true = (counts[place][place], sum(counts[place])) if counts else (0, 0)
    chip = f'<span class="chip {kind}"></span>' if kind else ""
    return (
        f"<span>{chip}{short_name(found.name)}</span>",
        f"{found.rows:,}",
        percent(right / answered) if answered else "-",
        percent(right / true) if true else "-",
        escape(or_dash(found.roc_auc, three)),
        escape(or_dash(found.average_precision, three)),
    )


_CURVES = """<p class="note">Each class against all others, while its threshold falls. On the dashed diagonal
of ROC curves, scores are no better than chance; the short strokes at the right of the second picture are the
precision of chance.</p>"""


def _curves(card: Card, kinds: Mapping[int, str]) -> Iterator[str]:
    """The ROC and the precision-recall curves of the classes that have some."""
    shown = [(card.classes[place], kind) for place, kind in kinds.items() if card.classes[place].thresholds]
    if not shown:
        return
    note = legend([each.name for each in card.classes], kinds) + palette.remark(card)
    found = "share of the class that is found (recall)"
    told = "; ".join(_told(each) for each, _ in shown)
    roc = Plot(
        shares("share of all others taken for it (false alarms)"), shares(found), f"ROC curves: {told}"
    )
    diagonal = roc.line([(0, 0), (1, 1)], "diagonal")
    lines = (roc.line(_roc(each), kind, _told(each)) for each, kind in shown)
    yield picture("ROC", roc.svg([diagonal, *lines]), note)
    label = "Precision and recall"
    plot = Plot(shares(found), shares("share of those taken that are right (precision)"), label)
    parts = [part for each, kind in shown for part in _precision(plot, each, kind)]
    yield picture(label, plot.svg(parts), note)


def _told(found: ClassCard) -> str:
    return f"{found.name}: area {or_dash(found.roc_auc, three)}"


def _roc(found: ClassCard) -> list[tuple[float, float]]:
    return [(0.0, 0.0), *((each.false_alarms, each.recall) for each in found.thresholds), (1.0, 1.0)]


def _precision(plot: Plot, found: ClassCard, kind: str) -> Iterator[str]:
    """A curve that begins level at its first threshold, and the stroke of chance: the share of the class."""
    points = [(each.recall, each.precision) for each in found.thresholds]
    told = f"{found.name}: average precision {or_dash(found.average_precision, three)}"
    last = found.thresholds[-1]
    # Rows of the class that are found: a share of all rows, and of those of the class.
    chance = last.precision * last.rows / last.recall if last.recall else 0.0
    yield plot.line([(0.0, points[0][1]), *points, (1.0, chance)], kind, told)
    yield plot.line([(0.95, chance), (1.0, chance)], kind, f"{found.name}: {chance:.1%} of the rows")


_THRESHOLDS_NOTE = """<p class="note">Rows with a score of at least this much are taken for the class: how
many these are, how many of them belong to it (precision), how much of the class is found (recall), and how
much of all others is taken for it (false alarms).</p>"""


def _thresholds(card: Card, kinds: Mapping[int, str]) -> Iterator[str]:
    write = three if card.calibration else digits
    for place, kind in kinds.items():
        found = card.classes[place]
        if found.thresholds:
            lines = (_threshold(each, write) for each in _spaced(found.thresholds))
            yield figures(found.name, _HEADS, lines, kind)


_HEADS = ("score", "rows", "precision", "recall", "false alarms")


def _spaced(thresholds: Sequence[Threshold]) -> list[Threshold]:
    """Some thresholds, evenly spaced, from the highest one to that which finds the whole class."""
    useful = next((place for place, each in enumerate(thresholds) if each.recall >= 1), len(thresholds) - 1)
    most = min(useful, _THRESHOLDS - 1)
    return [thresholds[round(place * useful / (most or 1))] for place in range(most + 1)]


def _threshold(found: Threshold, write: Write) -> tuple[str, ...]:
    return write(found.score), *map(percent, (found.rows, found.precision, found.recall, found.false_alarms))


def _calibration(bins: Sequence[CalibrationBin]) -> Iterator[str]:
    """Probabilities of the class that was answered, and the share of them that came true."""
    if not bins:
        return
    reaches = [intervals.share(each.came_true * each.rows, each.rows) for each in bins]
    ends = [reach.lowest for reach in reaches if reach is not None and reach.lowest is not None]
    lowest = min([*ends, *(each.probability for each in bins)])
    up = shares("share that came true", lowest)
    rows = sum(each.rows for each in bins)
    error = sum(each.rows * abs(each.probability - each.came_true) for each in bins) / rows
    told = f"on average, probabilities are off by {error:.1%}"
    plot = Plot(shares("probability of the answer", lowest), up, f"Calibration: {told}")
    diagonal = plot.line([(up.lowest, up.lowest), (1, 1)], "diagonal")
    dots = [part for pair in zip(bins, reaches, strict=True) for part in _bin(plot, *pair)]
    caption = (
        "A dot is a group of rows with its 95% interval: on the dashed diagonal, probabilities are right; "
        f"below it, the model is too sure. {told.capitalize()}."
    )
    yield picture("Calibration", plot.svg([diagonal, *dots]), caption)


def _bins(bins: Sequence[CalibrationBin]) -> Iterator[str]:
    """The figures of the calibration."""
    if bins:
        lines = [
            (
                f"{percent(each.lowest)} to {percent(each.highest)}",
                f"{each.rows:,}",
                percent(each.probability),
                percent(each.came_true),
            )
            for each in bins
        ]
        yield figures("Calibration", ("probability", "rows", "mean", "came true"), lines)


def _bin(plot: Plot, found: CalibrationBin, reach: Interval | None) -> Iterator[str]:
    means = f"mean probability {found.probability:.1%}, came true {found.came_true:.1%}"
    told = f"{counted(found.rows, 'row')}: {means}"
    if reach and reach.lowest is not None and reach.highest is not None:
        yield plot.upright(found.probability, reach.lowest, reach.highest, "reach c0", told)
    yield plot.dot((found.probability, found.came_true), "c0", told, 4)
