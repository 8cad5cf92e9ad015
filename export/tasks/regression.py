"""Regression: pipelines that predict a number for each of their targets."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LinearRegression,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVR, NuSVR
from sklearn.tree import DecisionTreeRegressor

from unpickled.export.errors import DataError, QualityError
from unpickled.export.inside import split
from unpickled.export.tasks.boosters import boosters
from unpickled.export.tasks.task import ClassNames, Demands, Task
from unpickled.server.artifact.manifest import Curve, Errors, ResidualReport, Training
from unpickled.server.quote import quoted, shortened

Floats = npt.NDArray[np.float64]

# The lines of a table of residuals: so many, of about equally many rows.
LINES = 5
# No line describes fewer rows.
LEAST_ROWS = 10


def _scaled(regressor: Any) -> Any:
    """A regressor that learns a target of any unit as well as one between -1 and 1."""
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


def _pair(seed: int) -> list[tuple[str, Any]]:
    """The members of an ensemble: one draws a line through all rows, the other parts them."""
    return [
        ("ridge", Ridge()),
        ("gradient_boosting", GradientBoostingRegressor(random_state=seed)),
    ]


# Each takes the seed. Iteration limits are high enough to converge on unscaled columns too; those of
# sgd do not.
REGRESSORS: Mapping[str, Callable[[int], Any]] = {
    "linear": lambda seed: LinearRegression(),
    "ridge": lambda seed: Ridge(),
    "ridge_cv": lambda seed: RidgeCV(alphas=[0.001, 0.01, 0.1, 1, 10, 100, 1000]),
    "lasso": lambda seed: Lasso(max_iter=100_000, random_state=seed),
    "lasso_cv": lambda seed: LassoCV(cv=3, max_iter=100_000, random_state=seed),
    "elastic_net": lambda seed: ElasticNet(max_iter=100_000, random_state=seed),
    "lars": lambda seed: Lars(random_state=seed),
    "bayesian_ridge": lambda seed: BayesianRidge(),
    "ard": lambda seed: ARDRegression(),
    "huber": lambda seed: HuberRegressor(max_iter=10_000),
    "theil_sen": lambda seed: TheilSenRegressor(random_state=seed),
    "ransac": lambda seed: RANSACRegressor(random_state=seed),
    "quantile": lambda seed: QuantileRegressor(alpha=0.0),
    "sgd": lambda seed: _scaled(SGDRegressor(random_state=seed)),
    "forest": lambda seed: RandomForestRegressor(100, random_state=seed),
    "extra_trees": lambda seed: ExtraTreesRegressor(100, random_state=seed),
    "decision_tree": lambda seed: DecisionTreeRegressor(random_state=seed),
    "gradient_boosting": lambda seed: GradientBoostingRegressor(random_state=seed),
    "hist_gradient_boosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "adaboost": lambda seed: AdaBoostRegressor(random_state=seed),
    "bagging": lambda seed: BaggingRegressor(random_state=seed),
    "voting": lambda seed: VotingRegressor(_pair(seed)),
    "stacking": lambda seed: StackingRegressor(_pair(seed)),
    "mlp": lambda seed: _scaled(MLPRegressor(max_iter=5_000, random_state=seed)),
    "svr": lambda seed: _scaled(SVR()),
    "nu_svr": lambda seed: _scaled(NuSVR()),
    "linear_svr": lambda seed: _scaled(LinearSVR(max_iter=1_000_000, random_state=seed)),
    "knn": lambda seed: KNeighborsRegressor(),
    "poisson": lambda seed: PoissonRegressor(max_iter=10_000),
    "gamma": lambda seed: GammaRegressor(max_iter=10_000),
    "tweedie": lambda seed: TweedieRegressor(power=1.5, max_iter=10_000),
    **boosters({"lightgbm": "LGBMRegressor", "xgboost": "XGBRegressor", "catboost": "CatBoostRegressor"}),
}


def measure(pipeline: Any, rows: Any, numbers: npt.ArrayLike, targets: Sequence[str]) -> tuple[Errors, ...]:
    """Quality of ``pipeline`` on ``rows`` (rows, columns) with their true ``numbers``, for each target."""
    truth = true_numbers(pipeline, len(rows), numbers)
    predicted = np.asarray(pipeline.predict(rows), np.float64).reshape(len(truth), -1)
    if truth.shape != predicted.shape:
        raise DataError(
            f"The rows have {truth.shape[1]} numbers to predict each, the pipeline predicts "
            f"{predicted.shape[1]}: give as many."
        )
    _refuse_infinite(predicted)
    return tuple(_errors(name, truth[:, place], predicted[:, place]) for place, name in enumerate(targets))


def true_numbers(pipeline: Any, rows: int, numbers: npt.ArrayLike) -> Floats:
    """The user's numbers of so many rows as (rows, targets), all of them finite. Raises DataError."""
    truth = _numbers(numbers)
    if len(truth) != rows:
        raise DataError(f"{rows:,} rows and {len(truth):,} numbers to predict: give each row its own.")
    return truth.reshape(rows, -1)


def deciles(predicted: Floats) -> tuple[tuple[float, ...], ...]:
    """The inner deciles of each column (rows, targets), equal ones once; none of fewer than 100 rows."""
    if len(predicted) < 10 * LEAST_ROWS:
        return tuple(() for _ in predicted.T)
    inner = np.quantile(predicted, np.linspace(0.1, 0.9, 9), axis=0)
    return tuple(tuple(np.unique(column).tolist()) for column in inner.T)


def require(errors: Sequence[Errors], max_error: float | None) -> None:
    """Raise QualityError if a target's mean absolute error is above ``max_error``; None demands nothing."""
    if max_error is None:
        return
    if not errors:
        raise DataError("A largest error needs true numbers to measure it with: give y.")
    worst = max(errors, key=lambda each: each.mae)
    if worst.mae > max_error:
        raise QualityError(
            f"The mean absolute error of {quoted(worst.target)}, {worst.mae:.6g}, is above the "
            f"{max_error:g} asked for, so nothing was written: try another regressor or scaler, more rows, "
            "or allow a larger one."
        )


def curve(pipeline: Any, rows: Any, numbers: npt.NDArray[Any]) -> Curve | None:
    """The training loss of regressors that are fitted in epochs or stages: of stages, the squared error."""
    model = getattr(pipeline[-1], "regressor_", pipeline[-1])
    # The solver lbfgs keeps no losses.
    if isinstance(model, MLPRegressor) and hasattr(model, "loss_curve_"):
        return Curve(unit="epoch", loss=tuple(float(loss) for loss in model.loss_curve_))
    if isinstance(model, (GradientBoostingRegressor, HistGradientBoostingRegressor)) and rows is not None:
        stages = model.staged_predict(split(pipeline, rows)[1])
        return Curve(unit="stage", loss=tuple(float(np.mean((stage - numbers) ** 2)) for stage in stages))
    return None


def _numbers(values: npt.ArrayLike) -> Floats:
    """True numbers as floats, all of them finite; DataError says which one is not."""
    try:
        numbers = np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"The numbers to predict are none ({error}): give y as numbers, as the pipeline predicts them."
        ) from error
    if not np.isfinite(numbers).all():
        raise DataError("A number to predict is missing or infinite: leave its row out.")
    return numbers


def _refuse_infinite(predicted: Floats) -> None:
    """Raise DataError unless every prediction (rows, targets) is a number."""
    rows = np.flatnonzero(~np.isfinite(predicted).all(axis=1))
    if len(rows):
        raise DataError(
            f"The pipeline predicts NaN or infinity for {len(rows):,} of {len(predicted):,} rows, the first "
            f"of them row {rows[0]}: leave them out, or fit it so that it predicts numbers, such as without "
            "an inverse_func that overflows."
        )


def _errors(target: str, truth: Floats, predicted: Floats) -> Errors:
    residuals = predicted - truth
    varies = len(truth) > 1 and bool((truth != truth[0]).any())
    return Errors(
        target=target,
        rows=len(truth),
        mae=float(np.abs(residuals).mean()),
        rmse=float(np.sqrt((residuals**2).mean())),
        r2=float(r2_score(truth, predicted)) if varies else None,
        residuals=tuple(_lines(predicted, residuals)),
        baseline=float(np.abs(truth - np.median(truth)).mean()),
    )


def _lines(predicted: Floats, residuals: Floats) -> list[ResidualReport]:
    """The table of residuals, from the lowest predictions to the highest."""
    count = max(1, min(LINES, len(predicted) // LEAST_ROWS))
    order = np.argsort(predicted, kind="stable")
    return [_line(predicted[part], residuals[part]) for part in np.array_split(order, count)]


def _line(predicted: Floats, residuals: Floats) -> ResidualReport:
    return ResidualReport(
        lowest=float(predicted.min()),
        highest=float(predicted.max()),
        rows=len(predicted),
        bias=float(residuals.mean()),
        mae=float(np.abs(residuals).mean()),
    )


def _split(rows: Any, numbers: npt.NDArray[Any], seed: int, held_out: float) -> Any:
    try:
        return train_test_split(rows, numbers, test_size=held_out, random_state=seed)
    except ValueError as error:
        raise DataError(
            f"{len(numbers)} rows cannot be split with {held_out:g} of them held out: give more rows, or "
            "another fraction between 0 and 1."
        ) from error


def _titles(classes: Sequence[int | str], class_names: ClassNames | None) -> tuple[str, ...]:
    if class_names is not None:
        raise DataError("A regressor predicts numbers and has no classes to name: leave the names out.")
    return ()


def _measured(training: Training, pipeline: Any, rows: Any, numbers: Any, targets: Sequence[str]) -> Training:
    return replace(training, errors=measure(pipeline, rows, numbers, targets))


def _admit(demands: Demands) -> None:
    if demands.min_accuracy is not None:
        raise DataError(
            f"A regressor predicts numbers, which have no accuracy: give {demands.spelled('max_error')}, the "
            f"largest mean absolute error, instead of {demands.spelled('min_accuracy')}."
        )


def _require(training: Training, demands: Demands) -> None:
    require(training.errors, demands.max_error)


def _described(numbers: npt.NDArray[Any], class_names: Sequence[str]) -> str:
    return f"numbers from {numbers.min():,g} to {numbers.max():,g}"


def _report(training: Training, rows: str) -> list[str]:
    blocks = [_block(errors, rows, len(training.errors) > 1) for errors in training.errors]
    return [line for place, block in enumerate(blocks) for line in (["", *block] if place else block)]


def _block(errors: Errors, rows: str, named: bool) -> list[str]:
    """The lines about one target, with its name where there are several."""
    shown = _digits(errors)
    name = f"{shortened(errors.target, 30)}: " if named else ""
    figures = f"MAE {shown(errors.mae)}   RMSE {shown(errors.rmse)}"
    r2 = "" if errors.r2 is None else f"   R2 {errors.r2:.4f}"
    median = "" if errors.baseline is None else f"; always the median: MAE {shown(errors.baseline)}"
    table = [("predicted", "to", "rows", "bias", "MAE")]
    for line in errors.residuals:
        numbers = (shown(line.lowest), shown(line.highest), f"{line.rows:,}")
        table.append((*numbers, shown(line.bias, "+"), shown(line.mae)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    cells = ("  ".join(map(str.rjust, row, widths)) for row in table)
    return [f"{name}{figures}{r2}   ({rows}{median})", "", *cells]


def _digits(errors: Errors) -> Callable[..., str]:
    """How to write numbers about this target: with the decimals that its error is worth."""
    size = errors.mae or errors.rmse or errors.baseline or 1.0
    decimals = 3 - math.floor(math.log10(size))
    largest = max(max(abs(line.lowest), abs(line.highest)) for line in errors.residuals)
    if decimals > 9 or largest >= 1e15:
        return lambda number, sign="": f"{number:{sign}.5g}"
    return lambda number, sign="": _fixed(number, sign, max(decimals, 0))


def _fixed(number: float, sign: str, decimals: int) -> str:
    """The number with so many decimals; 0 has no sign, and so has no number that is rounded to it."""
    rounded = round(number, decimals) or 0.0
    return f"{rounded:{sign if rounded else ''},.{decimals}f}"


REGRESSION = Task(
    name="regression",
    step="regressor",
    default="ridge",
    estimators=REGRESSORS,
    split=_split,
    titles=_titles,
    truth=true_numbers,
    measured=_measured,
    curve=curve,
    admit=_admit,
    require=_require,
    described=_described,
    report=_report,
)
