"""The rules of the judge between champion and challenger: the table ``judge`` of serving.toml."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Step = Annotated[float, Meta(gt=0, le=1)]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rules for one model. Shares lie between 0 and 1."""

    metric: Annotated[
        Literal["accuracy", "log_loss"],
        Meta(
            description='"accuracy" or "log_loss": the figure in which the challenger of a classifier has to '
            "be better; regressors are compared by their mean absolute error"
        ),
    ] = "accuracy"
    minimum_rows: Annotated[
        int,
        Meta(ge=1, le=10**9, description="rows with truth before a promotion, 1 or more"),
    ] = 200
    minimum_gain: Annotated[
        float,
        Meta(
            ge=0,
            le=1e300,
            description="gain that the whole interval has to exceed, 0 or more: 0.01 is a point of accuracy; "
            "of log loss and of errors, in their own unit",
        ),
    ] = 0.0
    level: Annotated[
        float,
        Meta(
            gt=0,
            le=0.5,
            description="chance that a challenger which is no better is ever promoted, and that one which is "
            "no worse is ever rejected: above 0, at most 0.5",
        ),
    ] = 0.05
    maximum_disagreement: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of rows, 0 to 1, that a shadow of a classifier may answer with another label "
            "than the champion",
        ),
    ] = 1.0
    latency: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="how many times the champion's the challenger's run time per row may be, above 0",
        ),
    ] = 1.5
    errors: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of requests, 0 to 1, that may fail beyond the champion's share; and of the "
            "rows that the shadow does not take",
        ),
    ] = 0.01
    drift: Annotated[
        Literal["tell", "hold"],
        Meta(
            description='"tell", or "hold": while requests have drifted from what the challenger was trained '
            "on, it gets no more traffic"
        ),
    ] = "tell"
    steps: Annotated[
        tuple[Step, ...],
        Meta(
            min_length=1,
            max_length=20,
            description="a list of the shares of traffic that a challenger gets one after the other: above "
            "0, rising, and 1.0 at the end",
        ),
    ] = (0.01, 0.05, 0.25, 1.0)
    minimum_minutes: Annotated[
        float,
        Meta(ge=0, le=525_600, description="minutes for which each share lasts at least, 0 or more"),
    ] = 60.0
    minimum_step_rows: Annotated[
        int,
        Meta(ge=0, le=10**9, description="logged rows that the challenger answers at each share, 0 or more"),
    ] = 50

    @property
    def mistake(self) -> str:
        """The sentence that says how the steps contradict themselves; empty where they do not."""
        if list(self.steps) != sorted(set(self.steps)):
            return "each share has to be larger than the one before"
        if self.steps[-1] != 1:
            return "the last share has to be 1.0, all of the traffic"
        return ""

    def next(self, weight: float) -> float:
        """The share behind this one."""
        return next((step for step in self.steps if step > weight), 1.0)
