"""The report about drift: the document of ``GET /models/<name>/drift``, and what the command prints.

All shares are between 0 and 1. None stands for what is not measured: nothing is NaN or infinite.
"""

from typing import ClassVar, Literal

import msgspec

from unpickled.server.quote import counted, listed, printable, shortened
from unpickled.server.report.document import Report

Kind = Literal["number", "date", "boolean", "category", "class"]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a feature, and the shares of the rows with a value that lie in it, in training and now.

    A cell of numbers is (lower, upper], where None is no end. ``label`` names it to a person.
    """

    label: str
    reference: float
    now: float | None
    lower: float | None = None
    upper: float | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share of all rows, in training and now, and whether they differ beyond chance and POINT."""

    reference: float
    now: float | None
    drifted: bool = False


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """The drift of one feature, or of one prediction.

    Attributes:
        name: That of the feature or of the target; "prediction" of a classifier.
        kind: The kind of its values.
        drifted: Whether it is an alarm.
        reasons: Why it is one, each a short sentence.
        rows: The rows of the window that have a value of it.
        psi: The population stability index between training and now.
        jensen_shannon: The Jensen-Shannon divergence in bits, 0 to 1.
        chi_squared: The statistic of the chi-squared test that both are samples of one population.
        p_value: The chance of such a statistic or a larger one if they are.
        threshold: The PSI above which it is an alarm, if ``p_value`` is small enough too.
        missing: The share of rows without a value.
        outside: The share of rows outside the training range, or with a category that training does not know;
            None of a prediction.
        bins: The cells.
    """

    name: str
    kind: Kind
    drifted: bool = False
    reasons: tuple[str, ...] = ()
    rows: int = 0
    psi: float | None = None
    jensen_shannon: float | None = None
    chi_squared: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    missing: Share | None = None
    outside: Share | None = None
    bins: tuple[Cell, ...] = ()


class VersionDrift(msgspec.Struct, frozen=True, kw_only=True):
    """The drift of one version.

    Attributes:
        version: Its number.
        rows: The rows that were looked at.
        sampled: The share of its rows that was looked at.
        trained: The training rows that these are compared with; 0 if it has no reference.
        drifted: Whether any feature or prediction is an alarm.
        judged: Whether there were rows enough to be judged.
        note: Why nothing is measured, or nothing is judged; empty otherwise.
        unmeasured: The features that have no reference, as they have too few training rows or values.
        features: The features, in their order.
        predictions: The prediction of a classifier, or each target of a regressor.
    """

    version: int
    rows: int
    sampled: float = 1.0
    trained: int = 0
    drifted: bool = False
    judged: bool = False
    note: str = ""
    unmeasured: tuple[str, ...] = ()
    features: tuple[FeatureDrift, ...] = ()
    predictions: tuple[FeatureDrift, ...] = ()

    @property
    def ordered(self) -> list[FeatureDrift]:
        """Its predictions and features: the alarms first, then by how far each has moved."""
        every = (*self.predictions, *self.features)
        return sorted(every, key=lambda each: (not each.drifted, -(each.psi or 0.0)))

    @property
    def sentence(self) -> str:
        """One line about it."""
        sampled = "" if self.sampled >= 1 else f" ({self.sampled:.2%} of those it answered)"
        rows = f"{counted(self.rows, 'row')}{sampled}"
        if self.note:
            return f"{rows}: {self.note}"
        drifted = [each.name for each in self.ordered if each.drifted]
        names = listed(drifted, 5, lambda name: shortened(printable(name), 30)) or "nothing"
        verb = "have" if len(drifted) > 1 else "has"
        return f"{rows}, compared with {self.trained:,} of training: {names} {verb} drifted"


class Drift(Report[VersionDrift], frozen=True, kw_only=True):
    """The drift of a model in one window.

    Attributes:
        model: Its name.
        window: One of WINDOWS.
        since: When the window begins, or counting did, if that is later; ISO 8601 in UTC.
        until: When it was asked for.
        complete: Whether the whole window was counted.
        versions: The versions with rows in it, newest first.
        note: The reason why a window is incomplete, and what of it was counted.
    """

    noun: ClassVar[str] = "drift"

    note: str = ""
