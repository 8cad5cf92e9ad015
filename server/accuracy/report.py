"""The report about accuracy: the document of ``GET /models/<name>/accuracy``, and what the command prints.

None stands for what is not defined or not measured; ``notes`` say why. Nothing is NaN or infinite. Intervals
hold the true value in 95 of 100 cases.
"""

from typing import ClassVar

import msgspec

from unpickled.server.quote import counted, printable, shortened
from unpickled.server.report.document import Report


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and its interval, whose ends are None where there is one row."""

    value: float
    lowest: float | None = None
    highest: float | None = None

    @property
    def percent(self) -> str:
        """A share in percent, with its interval."""
        return self.text(".1%")

    def text(self, form: str = ".4g") -> str:
        """The figure in a format such as ".4g", and the interval behind it."""
        if self.lowest is None or self.highest is None:
            return f"{self.value:{form}}"
        return f"{self.value:{form}} ({self.lowest:{form}} to {self.highest:{form}})"


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows whose probability lies in [lowest, highest): the mean of it, and the share that came true.

    The last bin has the probability 1 too.
    """

    lowest: float
    highest: float
    rows: int
    probability: float | None = None
    came_true: Estimate | None = None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How well probabilities are those that come true.

    Attributes:
        name: The class whose probability it is; empty for the class that was answered, whichever it was.
        error: The expected calibration error: the mean distance between the two sides of a bin, by its rows.
        by_chance: The error that right probabilities would exceed once in 2,000 windows of so many rows.
        bins: Ten of them.
    """

    name: str = ""
    error: float
    by_chance: float
    bins: tuple[Bin, ...]

    @property
    def figures(self) -> tuple[str, str]:
        """The error and that by chance, with three decimals or as many as tell one from the other."""
        for decimals in range(3, 9):
            error, chance = (f"{figure:.{decimals}f}" for figure in (self.error, self.by_chance))
            if error != chance:
                return error, chance
        return f"{self.error:.3f}", f"{self.by_chance:.3f}"


class ClassAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """One class.

    Attributes:
        name: Its name; of many classes, the last stands for all the others.
        predicted: Rows answered with it, with and without truth.
        known: Those of them whose truth is known.
        coverage: The share of these.
        precision: The share of the known ones that were right.
        true: Rows that were of this class in truth.
        recall: The share of these that were right.
    """

    name: str
    predicted: int
    known: int
    true: int
    coverage: float | None = None
    precision: Estimate | None = None
    recall: Estimate | None = None


class TargetAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one target: prediction - truth, in its unit.

    Attributes:
        target: Its name.
        rows: The rows whose truth is known.
        far: Those of them whose error is absurd; the figures are of the others.
        mae: The mean absolute error.
        rmse: The root of the mean squared error.
        bias: The mean error.
        trained_mae: The mean absolute error on the held-out rows of training.
        trained_rmse: The same of the root of the mean squared error.
        held_out: Whether these rows were held out; a model has learned the others, and they flatter it.
    """

    target: str
    rows: int
    far: int = 0
    mae: Estimate | None = None
    rmse: Estimate | None = None
    bias: Estimate | None = None
    trained_mae: float | None = None
    trained_rmse: float | None = None
    held_out: bool = True


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """The accuracy of a classifier in training.

    Attributes:
        accuracy: The share of right answers.
        rows: The rows on which it was measured.
        held_out: Whether these were held out; a model has learned the others, and they flatter it.
        log_loss: The mean log loss.
    """

    accuracy: float
    rows: int
    held_out: bool = True
    log_loss: float | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How right some answers were.

    Attributes:
        rows: The rows whose truth is known.
        accuracy: The share of right answers; None of a regressor.
        log_loss: The mean log loss; a probability below 2.2e-16 counts as that.
        brier: The mean Brier score: the squared distance of the probabilities from the truth, over all
            classes; of two classes, the square of one difference.
        calibration: That of the class that was answered.
        calibrations: That of each class, where there are ten at most.
        classes: The classes.
        confusion: Rows by the true class and the class answered; the last row is of truths that are no class.
            None where there are more than 30 classes.
        targets: The targets of a regressor.
    """

    rows: int
    accuracy: Estimate | None = None
    log_loss: Estimate | None = None
    brier: Estimate | None = None
    calibration: Calibration | None = None
    calibrations: tuple[Calibration, ...] = ()
    classes: tuple[ClassAccuracy, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = None
    targets: tuple[TargetAccuracy, ...] = ()

    @property
    def sentence(self) -> str:
        """The figure that says most."""
        if self.accuracy is not None:
            return f"accuracy {self.accuracy.percent}"
        errors = [
            f"{shortened(printable(each.target), 30)} {each.mae.text()}"
            for each in self.targets[:3]
            if each.mae is not None
        ]
        return f"mean absolute error of {', '.join(errors)}" if errors else "nothing is measured"


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a version that have the same value, or values in the same range, of a feature."""

    feature: str
    value: str
    figures: Figures


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answered, and one that shadowed it, on the same rows.

    Differences are those of the shadow minus those of the version: a better shadow has a positive difference
    of accuracy, and negative ones of losses and errors.

    Attributes:
        version: The one that answered.
        shadow: The other one.
        rows: The rows that both answered, and whose truth is known.
        accuracy: The difference of accuracy.
        log_loss: The difference of the mean log loss.
        mae: The difference of the mean absolute error of each target, by its name.
        only_version: Rows that only the version answered right.
        only_shadow: Rows that only the shadow answered right.
        note: A sentence that says which is better, or that these rows do not tell.
    """

    version: int
    shadow: int
    rows: int
    accuracy: Estimate | None = None
    log_loss: Estimate | None = None
    mae: dict[str, Estimate] = {}
    only_version: int = 0
    only_shadow: int = 0
    note: str = ""


class VersionAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How right one version was.

    Attributes:
        version: Its number.
        labels: The labels that stand for it, such as stable.
        predicted: Its rows.
        coverage: The share of them whose truth is known.
        uneven: Whether the truth of some classes answered is known more often than that of others, beyond
            chance: then all figures lean towards these.
        figures: How right it was.
        trained: The figures of training.
        judged: Whether there were rows enough to compare it with training.
        fallen: Whether it is worse than on the held-out rows of training, beyond chance.
        miscalibrated: Whether its probabilities are further from what comes true than chance explains.
        reasons: Why it is one of these, each a short sentence.
        notes: The reasons why something is not measured.
        slices: Its rows by a feature.
    """

    version: int
    labels: tuple[str, ...] = ()
    predicted: int = 0
    coverage: float | None = None
    uneven: bool = False
    figures: Figures
    trained: Trained | None = None
    judged: bool = False
    fallen: bool = False
    miscalibrated: bool = False
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()

    @property
    def title(self) -> str:
        """Its number and its labels."""
        labels = f" ({', '.join(self.labels)})" if self.labels else ""
        return f"version {self.version}{labels}"

    @property
    def sentence(self) -> str:
        """One line about it."""
        predicted = counted(self.predicted, "predicted row")
        if not self.figures.rows:
            return f"{predicted}, no truth yet"
        share = "" if self.coverage is None else f", {self.coverage:.1%} of {predicted}"
        return f"{self.figures.sentence}: truth of {counted(self.figures.rows, 'row')}{share}"


class Truths(msgspec.Struct, frozen=True, kw_only=True):
    """The truths that were reported since the server started, by what became of them.

    Attributes:
        accepted: They are in the figures of the windows in which their rows were predicted.
        repeated: The same truth once more.
        contradicting: Another truth than the first one of the row, which stands.
        refused: No truth of this model.
        late: Their rows are not remembered any more, and there is no payload log.
        unknown: No id of this server.
        kept: Their rows are not remembered any more, or not known here; the command ``accuracy --log`` looks
            for them in the payload log.
    """

    accepted: int = 0
    repeated: int = 0
    contradicting: int = 0
    refused: int = 0
    late: int = 0
    unknown: int = 0
    kept: int = 0


class Accuracy(Report[VersionAccuracy], frozen=True, kw_only=True):
    """How right a model was in one window: the rows are those that were predicted in it.

    Attributes:
        model: Its name.
        window: "1h", "24h" or "7d".
        since: When the window begins, or counting did, if that is later; ISO 8601 in UTC.
        until: When it was asked for.
        complete: Whether the whole window was counted.
        versions: The versions with rows in it, newest first.
        pairs: Versions and their shadows.
        truths: The fates of the truths that were reported; None where the payload log was read.
        remembered: The rows of each worker to which truth finds its way without the payload log; None where
            that was read.
        note: A remark on rows that the window does not have.
    """

    noun: ClassVar[str] = "accuracy"

    pairs: tuple[Pair, ...] = ()
    truths: Truths | None = None
    remembered: int | None = None
    note: str = ""
