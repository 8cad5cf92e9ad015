"""Conversion of a fitted pipeline into one ONNX graph.

The pipeline is converted step by step. An estimator with a converter (``converters/``) is written in its own
arithmetic. A few others, which skl2onnx is known to convert correctly, are converted by it, each alone and in
float64 (``converters/foreign.py``). All others are refused. ``gate/`` decides whether the graph is right.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import onnx
from sklearn.base import is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import AdaBoostRegressor, BaggingClassifier, BaggingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RANSACRegressor
from sklearn.multioutput import RegressorChain
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from unpickled.export import detectors, inside, releases
from unpickled.export.boosters.reading import read_once
from unpickled.export.boosters.registry import library
from unpickled.export.converters import (
    bins,
    boosters,
    centroids,
    classifiers,
    compositions,
    cutoffs,
    dates,
    distances,
    encoders,
    ensembles,
    foreign,
    forests,
    functions,
    gaussian_process,
    imputers,
    isotonic,
    kernels,
    multiclass,
    neighbors,
    networks,
    outliers,
    polynomials,
    powers,
    projections,
    quantiles,
    regression_trees,
    regressors,
    scalers,
    selectors,
    svm,
)
from unpickled.export.converters.numbers import narrowed, promoted, weighted
from unpickled.export.converters.splitting import splits
from unpickled.export.data.layout import Layout, Rows
from unpickled.export.data.memory import table
from unpickled.export.errors import ConversionError, NoConverter, NoGraph, reason
from unpickled.export.graph import (
    ClassifierOutput,
    Column,
    Columns,
    Dtype,
    Graph,
    OptionalColumns,
    Output,
    RegressorOutput,
    Tensor,
    present,
)
from unpickled.export.inside import Part
from unpickled.export.refusals import REFUSED, SEVERAL, qualified, refusal, takes_texts
from unpickled.server.artifact.manifest import Feature, Input, Outputs
from unpickled.server.quote import shortened

Operators = Literal["fastest", "standard"]
Answers = TypeVar("Answers", ClassifierOutput, RegressorOutput)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A graph, and how to feed it.

    Attributes:
        model: The graph; it has no manifest. Its outputs are a label (rows,) and scores (rows, classes), or
            for a regressor the predictions (rows, targets).
        features: The columns of a request, in the order of the rows. The gate decides later which of them
            may be missing, and how far their values may lie outside of training.
        inputs: The tensors that the graph takes, and the features in each.
        outputs: The names of its outputs, and the kind of its scores.
        classes: The pipeline's labels in the order of the scores' columns; none of a regressor.
        layout: The translation between rows, frames and tensors.
        foreign: The steps that skl2onnx converted.
    """

    model: onnx.ModelProto
    features: tuple[Feature, ...]
    inputs: tuple[Input, ...]
    outputs: Outputs
    classes: tuple[int | str, ...]
    layout: Layout
    foreign: tuple[str, ...] = ()


@read_once()
def convert(
    pipeline: Any,
    X: Rows,
    feature_names: Sequence[str] | None = None,
    operators: Operators = "fastest",
) -> Conversion:
    """Turn a fitted estimator that answers, or a pipeline, into a graph; the two are not compared here.

    Args:
        pipeline: A fitted classifier, regressor or outlier detector of scikit-learn, or a pipeline that ends
            in one.
        X: Representative rows (rows, columns), best the training rows: an ndarray or a DataFrame.
        feature_names: Names of the columns of an ndarray; by default ``feature_0`` and so on.
        operators: With "standard", those of ``ai.onnx`` alone, which any execution provider may run; else
            those that are fastest on a CPU.

    Returns:
        The graph, and how to feed it.

    Raises:
        ConversionError: A step has no graph, or the rows do not fit the pipeline, or the pipeline does
            not end in a fitted classifier, regressor or outlier detector.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> conversion = convert(LogisticRegression(max_iter=1000).fit(X, y), X)
        >>> [node.op_type for node in conversion.model.graph.node]
        ['Gemm', 'ArgMax', 'Softmax']
    """
    check_pipeline(pipeline)
    classes = () if is_regressor(pipeline) else _classes(pipeline)
    X = table(X)
    layout = Layout.of(pipeline, X, feature_names)
    writer = _Writer(operators)
    writer.graph.texts.update(_texts(layout, X))
    inputs, columns = _declare(writer.graph, layout)
    boosters.check_integers(pipeline, lambda: layout.own(X))
    writer.graph.sparse.update(boosters.sparse(pipeline, layout.rows(layout.frame(X).iloc[:1])))
    if classes:
        graph_outputs, outputs = _classified(writer, pipeline, columns, classes)
    else:
        graph_outputs, outputs = _predicted(writer, pipeline, columns)
    return Conversion(
        model=writer.graph.model(graph_outputs),
        features=_features(writer.graph, layout, X),
        inputs=inputs,
        outputs=outputs,
        classes=classes,
        layout=layout,
        foreign=tuple(writer.foreign),
    )


def _classified(
    writer: "_Writer", pipeline: Any, columns: OptionalColumns, classes: tuple[int | str, ...]
) -> tuple[list[Output], Outputs]:
    """The outputs of a classifier's graph, and what the manifest says of them."""
    output = writer.classify(pipeline, columns)
    kind: Literal["probabilities", "scores"] = "scores" if output.probabilities is None else "probabilities"
    scores = output.probabilities or output.decision or output.ranking
    if scores is None:
        raise ConversionError(
            f"{_class_name(pipeline)} gives neither probabilities nor scores: "
            "use a classifier with one of them."
        )
    label, dtype = _label(writer.graph, output, classes)
    graph_outputs = [Output("label", label, dtype), Output(kind, scores, output.dtype, len(classes))]
    return graph_outputs, Outputs(label="label", scores=kind, kind=kind)


def _predicted(writer: "_Writer", pipeline: Any, columns: OptionalColumns) -> tuple[list[Output], Outputs]:
    """The output of a regressor's graph, and what the manifest says of it."""
    output = writer.regress(pipeline, columns)
    numbered = tuple(f"target_{index}" for index in range(output.targets))
    targets = ("prediction",) if output.targets == 1 else numbered
    outputs = Outputs(scores="prediction", kind="prediction", targets=targets)
    return [Output("prediction", output.prediction, "float64", output.targets)], outputs


@dataclass(frozen=True, slots=True)
class Step:
    """A transformer that was written, with the columns that it makes; ``path`` leads to it."""

    path: str
    estimator: Any
    columns: Columns


@dataclass(frozen=True, slots=True)
class Trace:
    """A graph with the output of every transformer of a pipeline.

    ``outputs`` has, for each tensor of the graph, the path of its step and the columns of the step's output
    that the tensor holds.
    """

    model: onnx.ModelProto
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


def trace(pipeline: Pipeline, layout: Layout) -> Trace:
    """The graph of all steps but the last one, to find the step at which an answer goes wrong.

    Raises ConversionError as ``convert`` does.
    """
    writer = _Writer()
    inputs, columns = _declare(writer.graph, layout)
    for part in inside.parts(pipeline)[:-1]:
        columns = writer.step(part, columns)
    tensors, outputs = [], []
    for step in writer.steps:
        for dtype in ("float64", "string"):
            of_type = [i for i, c in enumerate(step.columns) if (c.dtype == "string") == (dtype == "string")]
            if of_type:
                matrix = writer.graph.matrix(tuple(step.columns[i] for i in of_type), dtype)
                tensors.append(Tensor(matrix, dtype, len(of_type)))
                outputs.append((step.path, tuple(of_type)))
    return Trace(writer.graph.traced(tensors), inputs, tuple(outputs))


def check_pipeline(pipeline: Any) -> None:
    """Raise ConversionError unless it is fitted, answers, and takes rows that are a table."""
    _check_fitted(pipeline)
    _Writer().refuse_texts(pipeline)


def _check_fitted(pipeline: Any) -> None:
    if isinstance(pipeline, type) or not hasattr(pipeline, "get_params"):
        _refuse_by_name(pipeline)
        raise ConversionError(
            f"The pipeline is not a scikit-learn classifier or regressor, but {shortened(repr(pipeline))}: "
            "give a fitted one."
        )
    if not releases.answers(pipeline):
        _refuse_by_name(pipeline)
        raise ConversionError(
            f"{_class_name(pipeline)} is neither a classifier nor a regressor nor an outlier detector: only "
            "pipelines that end in one can be exported."
        )
    try:
        check_is_fitted(pipeline)
    except NotFittedError:
        raise ConversionError(f"{_class_name(pipeline)} is not fitted: call fit(X, y) first.") from None


def _refuse_by_name(pipeline: Any) -> None:
    """Raise ConversionError if the last step predicts, and its refusal is known by name.

    An old release of a boosting library does not say what its models answer in the way of scikit-learn's.
    """
    last = inside.decider(pipeline)[0] if inside.parts(pipeline) else pipeline
    booster = library(last)
    if booster is not None:
        raise ConversionError(
            f"scikit-learn {releases.INSTALLED} cannot tell what {qualified(last)} answers: this release of "
            f"{booster.name} was made for an older one. Install a newer one and fit it again: "
            f"pip install 'unpickled[{booster.name}]'."
        )
    refused = REFUSED.get(_class_name(last))
    if refused and hasattr(last, "predict"):
        raise ConversionError(
            f"The estimator {qualified(last)} cannot be converted: {refused.reason}; {refused.remedy}."
        )


def _classes(pipeline: Any) -> tuple[int | str, ...]:
    """The labels as values for JSON: booleans and whole floats become the integers that they equal."""
    classes = detectors.classes(pipeline)
    if isinstance(classes, list) or classes is None:
        raise ConversionError(
            f"The estimator {qualified(inside.decider(pipeline)[0])} cannot be converted: {SEVERAL.reason}; "
            f"{SEVERAL.remedy}."
        )
    if len(classes) < 2:
        raise ConversionError(f"{_class_name(pipeline)} was trained on a single class: give it two or more.")
    labels = [label.item() if isinstance(label, np.generic) else label for label in classes]
    if all(isinstance(label, str) for label in labels):
        return tuple(labels)
    if all(isinstance(label, (bool, int, float)) and label == int(label) for label in labels):
        return tuple(int(label) for label in labels)
    raise ConversionError(
        f"The labels {labels[:3]} are neither text nor whole numbers: train on one of these."
    )


def _class_name(step: Any) -> str:
    return type(step).__name__


def _declare(graph: Graph, layout: Layout) -> tuple[tuple[Input, ...], OptionalColumns]:
    """Declare one input for all numbers and one for all categories; columns that nothing reads are None."""
    columns: list[Column | None] = [None] * layout.width
    graph.native.update({layout.names[i]: tuple(dtype.categories) for i, dtype in layout.native.items()})
    inputs = []
    dtypes: dict[str, Dtype] = {"number": layout.dtype, "category": "string"}
    for kind, name in (("number", "numbers"), ("category", "categories")):
        features = [i for i, feature_kind in enumerate(layout.kinds) if feature_kind == kind]
        if not features:
            continue
        tensor = graph.input(name, dtypes[kind], len(features))
        inputs.append(Input(name=name, dtype=tensor.dtype, features=tuple(layout.names[i] for i in features)))
        for column, i in zip(tensor.columns(), features, strict=True):
            column = replace(column, feature=layout.names[i])
            columns[layout.positions[i]] = narrowed(graph, column) if i in layout.narrow else column
    return tuple(inputs), tuple(columns)


def _texts(layout: Layout, X: Rows) -> dict[str, set[str]]:
    """The texts of each feature in these rows."""
    kinds = zip(layout.names, layout.kinds, strict=True)
    names = [name for name, kind in kinds if kind == "category"]
    frame = layout.frame(X) if names else {}
    return {name: set(frame[name].dropna().unique()) for name in names}


def _features(graph: Graph, layout: Layout, X: Rows) -> tuple[Feature, ...]:
    """The features, with the numbers that every encoder knows which refuses others."""
    features = layout.features(layout.frame(X))
    return tuple(
        msgspec.structs.replace(feature, values=tuple(sorted(graph.known.get(feature.name, ()))))
        for feature in features
    )


def _label(graph: Graph, output: ClassifierOutput, classes: tuple[int | str, ...]) -> tuple[str, Dtype]:
    dtype: Dtype = "string" if isinstance(classes[0], str) else "int64"
    if output.winner is None:
        assert output.label is not None
        return output.label, dtype
    if list(classes) == list(range(len(classes))):
        return output.winner, dtype
    labels = np.array(classes, object if dtype == "string" else np.int64)
    return graph.add("Gather", graph.constant(labels), output.winner), dtype


_CLASSIFIERS = (
    classifiers.CONVERTERS
    | networks.CONVERTERS
    | neighbors.CONVERTERS
    | svm.CONVERTERS
    | centroids.CONVERTERS
    | gaussian_process.LATENT
    | outliers.CONVERTERS
)
_FORESTS = forests.CONVERTERS | outliers.FORESTS
_COMPOSED = ensembles.CONVERTERS | multiclass.CONVERTERS | cutoffs.CONVERTERS | gaussian_process.CONVERTERS
_REGRESSORS = (
    regressors.CONVERTERS
    | regression_trees.REGRESSORS
    | networks.REGRESSORS
    | neighbors.REGRESSORS
    | svm.REGRESSORS
    | kernels.REGRESSORS
    | gaussian_process.REGRESSORS
    | isotonic.REGRESSORS
)
# They turn a table into one array before its rows reach the estimators inside.
_ARRAYS = (BaggingClassifier, AdaBoostRegressor, BaggingRegressor, RANSACRegressor, RegressorChain)
_TRANSFORMERS = (
    scalers.CONVERTERS
    | imputers.CONVERTERS
    | encoders.CONVERTERS
    | selectors.CONVERTERS
    | functions.CONVERTERS
    | bins.CONVERTERS
    | dates.CONVERTERS
    | powers.CONVERTERS
    | quantiles.CONVERTERS
    | polynomials.CONVERTERS
    | projections.CONVERTERS
    | distances.CONVERTERS
    | kernels.CONVERTERS
)
# Transformers that may differ from scikit-learn in the last digit, whatever their parameters are.
_ROUNDING = (
    *foreign.ROUNDING,
    *imputers.ROUNDING,
    *powers.ROUNDING,
    *polynomials.ROUNDING,
    *projections.ROUNDING,
    *distances.ROUNDING,
    *kernels.ROUNDING,
)


def _rounds(step: Any) -> bool:
    """Whether a transformer may differ from scikit-learn in the last digit."""
    rounds = scalers.rounds(step) or functions.rounds(step) or quantiles.rounds(step)
    return rounds or type(step) in _ROUNDING


def _jumps(step: Any) -> bool:
    """Whether a last digit in front of a transformer may change what it returns by more than that."""
    return any(module.jumps(step) for module in (bins, dates, functions, polynomials, scalers))


class _Writer:
    """Writes the graph of a pipeline; an error names the step at which it occurred."""

    def __init__(self, operators: Operators = "fastest") -> None:
        self.graph = Graph(standard=operators == "standard")
        self.foreign: list[str] = []
        self.steps: list[Step] = []
        self._path: list[str] = []
        # Set once the columns may differ from scikit-learn's in the last digit: the error for trees, whose
        # answers change with that digit.
        self._inexact: NoGraph | None = None

    def refuse_texts(self, step: Any) -> None:
        """Raise ConversionError for a first step that takes texts or dicts: they cannot be read as rows."""
        step = inside.unwrapped(step)
        if takes_texts(step):
            raise refusal(step, "compute")
        if isinstance(step, (Pipeline, FeatureUnion)):
            for part in inside.parts(step):
                if part.before is None:
                    with self._at(part.name, part.estimator):
                        self.refuse_texts(part.estimator)

    def classify(self, step: Any, columns: OptionalColumns, exact: bool = False) -> ClassifierOutput:
        """Write a classifier or a pipeline that ends in one; ``exact`` if others compute with its scores."""
        step = inside.unwrapped(step)
        if isinstance(step, Pipeline):
            return self._last(step, columns, partial(self.classify, exact=exact))
        with self._at("", step):
            kind = inside.kind(step)
            if isinstance(step, _ARRAYS):
                columns = promoted(self.graph, present(columns))
            if kind in _COMPOSED:
                return _COMPOSED[kind](self.graph, step, columns, partial(self.classify, exact=True))
            return self._leaf(step, present(columns), exact)

    def _leaf(self, step: Any, columns: Columns, exact: bool) -> ClassifierOutput:
        if splits(step) and self._inexact:
            raise self._inexact
        kind = inside.kind(step)
        if kind in _FORESTS:
            return _FORESTS[kind](self.graph, step, columns, exact)
        if (boosted := boosters.classify(self.graph, step, columns, exact)) is not None:
            return boosted
        if kind in _CLASSIFIERS:
            with suppress(NoConverter):
                return _CLASSIFIERS[kind](self.graph, step, columns)
        if kind not in foreign.CLASSIFIERS:
            raise refusal(step, "answer")
        label, *_, scores = self._foreign(step, columns)
        flat = self.graph.add("Reshape", label.name, self.graph.constant(np.array([-1], np.int64)))
        return ClassifierOutput(len(step.classes_), label=flat, probabilities=scores.name, dtype=scores.dtype)

    def regress(self, step: Any, columns: OptionalColumns) -> RegressorOutput:
        """Write a regressor or a pipeline that ends in one."""
        step = inside.unwrapped(step)
        if isinstance(step, Pipeline):
            return self._last(step, columns, self.regress)
        with self._at("", step):
            if isinstance(step, _ARRAYS):
                columns = promoted(self.graph, present(columns))
            if inside.parts(step) and type(step) in compositions.CONVERTERS:
                return compositions.CONVERTERS[type(step)](self.graph, step, columns, self.regress)
            return self._number(step, present(columns))

    def _number(self, step: Any, columns: Columns) -> RegressorOutput:
        """Write a regressor without others inside."""
        if splits(step) and self._inexact:
            raise self._inexact
        if (boosted := boosters.regress(self.graph, step, columns)) is not None:
            return boosted
        kind = inside.kind(step)
        if kind not in _REGRESSORS:
            raise refusal(step, "predict")
        return _REGRESSORS[kind](self.graph, step, columns)

    def _last(
        self, step: Pipeline, columns: OptionalColumns, write: Callable[[Any, OptionalColumns], Answers]
    ) -> Answers:
        """Write the steps of a pipeline, the last one, which answers, with ``write``."""
        *earlier, last = inside.parts(step)
        with self._columns_of_its_own():
            for part in earlier:
                columns = self.step(part, columns)
            with self._at(last.name, last.estimator):
                return write(last.estimator, columns)

    def transform(self, step: Any, columns: OptionalColumns) -> Columns:
        """Write a transformer; returns its output columns."""
        step = inside.unwrapped(step)
        if isinstance(step, Pipeline):
            for part in inside.parts(step):
                columns = self.step(part, columns)
            return present(columns)
        if isinstance(step, (ColumnTransformer, FeatureUnion)):
            return self._side_by_side(step, columns)
        if self._inexact and _jumps(step):
            raise self._inexact
        if _rounds(step):
            self._inexact = NoGraph(
                f"what {'/'.join(self._path)!r} ({_class_name(step)}) computes may differ in the last digit, "
                "and trees, bins and steps notice that digit",
                "leave it out, or use an estimator without trees at the end",
            )
        if type(step) in _TRANSFORMERS:
            return _TRANSFORMERS[type(step)](self.graph, step, present(columns))
        if type(step) not in foreign.TRANSFORMERS:
            raise refusal(step, "compute")
        return self._foreign(step, present(columns))[0].columns()

    def step(self, part: Part, columns: OptionalColumns) -> OptionalColumns:
        """Write a transformer inside another estimator, and keep what it makes in ``steps``."""
        if isinstance(part.estimator, str) and part.estimator == "passthrough":
            return columns
        with self._at(part.name, inside.unwrapped(part.estimator)):
            transformed = self.transform(part.estimator, columns)
            self.steps.append(Step("/".join(self._path), part.estimator, transformed))
            return transformed

    def _side_by_side(self, step: ColumnTransformer | FeatureUnion, columns: OptionalColumns) -> Columns:
        """The outputs of all transformers, each times its weight, as columns of one array."""
        outputs: Columns = ()
        weights = step.transformer_weights or {}
        for part in inside.parts(step):
            transformed = present(self.step(part, part.select(columns)))
            weight = weights.get(part.name)
            outputs += transformed if weight is None else weighted(self.graph, transformed, weight)
        return promoted(self.graph, outputs)

    @contextmanager
    def _columns_of_its_own(self) -> Iterator[None]:
        """Forget afterwards that columns became inexact: the next classifier takes those from before."""
        before = self._inexact
        try:
            yield
        finally:
            self._inexact = before

    @contextmanager
    def _at(self, name: str, step: Any) -> Iterator[None]:
        """Turn errors raised inside into a ConversionError that names this step."""
        if name:
            self._path.append(name)
        kind = step if isinstance(step, str) else qualified(step)
        where = f"Step {'/'.join(self._path)!r} ({kind})" if self._path else f"The estimator {kind}"
        try:
            yield
        except ConversionError:
            raise
        except NoGraph as error:
            advice = f"; {error.remedy}." if error.remedy else f". {_ADVICE}"
            raise ConversionError(f"{where} cannot be converted: {error.reason}{advice}") from None
        except Exception as error:
            raise ConversionError(f"{where} cannot be converted: {reason(error)}. {_ADVICE}") from error
        finally:
            if name:
                self._path.pop()

    def _foreign(self, step: Any, columns: Columns) -> list[Tensor]:
        """Let skl2onnx write one estimator; returns its outputs."""
        outputs = foreign.write(self.graph, step, columns)
        if self.graph.standard and any(node.domain for node in self.graph.nodes):
            raise NoGraph("it needs operators of ai.onnx.ml", "leave out --operators standard")
        self.foreign.append(
            f"{'/'.join(self._path)} ({_class_name(step)})" if self._path else _class_name(step)
        )
        return outputs


_ADVICE = "Replace it with an estimator that the documentation lists, or do its work before the pipeline."
