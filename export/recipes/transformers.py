"""Recipes for transformers: scalers, imputers, encoders and column selection.

Every recipe takes (graph, fitted transformer, input columns) and returns the output columns. It repeats the
arithmetic of the transformer, operation by operation and in its precision, so that a tree behind a scaler
compares exactly the numbers that it would compare in scikit-learn.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from unpickled.export.data.missing import is_missing
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ML, Array, Column, Columns, Dtype, Graph, Tensor
from unpickled.export.releases import STANDARD_ROUNDS, clips
from unpickled.server.artifact.manifest import MISSING_CATEGORY

Recipe = Callable[[Graph, Any, Columns], Columns]


def _number_type(columns: Columns) -> Dtype:
    if any(column.dtype == "string" for column in columns):
        raise NoGraph("it needs numbers, but gets text columns")
    return "float32" if all(column.dtype == "float32" for column in columns) else "float64"


def _in_place(graph: Graph, op: str, x: str, dtype: Dtype, constant: Array) -> str:
    """``x op= constant`` as in NumPy: computed in the wider type, then rounded to the type of x."""
    if dtype == "float64" or constant.dtype == np.float32:
        return graph.add(op, x, graph.constant(constant.astype(dtype)))
    wide = graph.add(op, graph.cast(x, "float64"), graph.constant(constant))
    return graph.cast(wide, dtype)


def _scale(graph: Graph, columns: Columns, steps: list[tuple[str, Array | None]]) -> Columns:
    dtype = _number_type(columns)
    x = graph.matrix(columns, dtype)
    for op, constant in steps:
        if constant is not None:
            x = _in_place(graph, op, x, dtype, np.asarray(constant))
    return Tensor(x, dtype, len(columns)).columns()


def _standard(graph: Graph, scaler: StandardScaler, columns: Columns) -> Columns:
    dtype = _number_type(columns) if STANDARD_ROUNDS else "float64"
    mean = scaler.mean_.astype(dtype) if scaler.with_mean else None
    scale = scaler.scale_.astype(dtype) if scaler.with_std else None
    return _scale(graph, columns, [("Sub", mean), ("Div", scale)])


def _robust(graph: Graph, scaler: RobustScaler, columns: Columns) -> Columns:
    center = scaler.center_ if scaler.with_centering else None
    scale = scaler.scale_ if scaler.with_scaling else None
    return _scale(graph, columns, [("Sub", center), ("Div", scale)])


def _min_max(graph: Graph, scaler: MinMaxScaler, columns: Columns) -> Columns:
    scaled = _scale(graph, columns, [("Mul", scaler.scale_), ("Add", scaler.min_)])
    return _clip(graph, scaled, *scaler.feature_range) if scaler.clip else scaled


def _max_abs(graph: Graph, scaler: MaxAbsScaler, columns: Columns) -> Columns:
    scaled = _scale(graph, columns, [("Div", scaler.scale_)])
    return _clip(graph, scaled, -1.0, 1.0) if clips(scaler) else scaled


def _clip(graph: Graph, columns: Columns, low: float, high: float) -> Columns:
    dtype = columns[0].dtype
    bounds = [graph.constant(np.array(bound, dtype)) for bound in (low, high)]
    x = graph.matrix(columns, dtype)
    clipped = graph.add("Clip", x, *bounds)
    # Clip may lose a NaN, which NumPy's clip keeps.
    with_missing = graph.add("Where", graph.add("IsNaN", x), x, clipped)
    return Tensor(with_missing, dtype, len(columns)).columns()


def _normalise(graph: Graph, normalizer: Normalizer, columns: Columns) -> Columns:
    dtype = _number_type(columns)
    x = graph.matrix(columns, dtype)
    if normalizer.norm == "l2":
        total = graph.add("ReduceSum", graph.add("Mul", x, x), graph.constant(np.array([1], np.int64)))
        norm = graph.add("Sqrt", total)
    else:
        op = "ReduceMax" if normalizer.norm == "max" else "ReduceSum"
        norm = graph.add(op, graph.add("Abs", x), graph.constant(np.array([1], np.int64)))
    # scikit-learn does not change rows whose norm is about zero.
    tiny = graph.add("Less", norm, graph.constant(np.array(10 * np.finfo(dtype).eps, dtype)))
    divisor = graph.add("Where", tiny, graph.constant(np.array(1.0, dtype)), norm)
    return Tensor(graph.add("Div", x, divisor), dtype, len(columns)).columns()


def rounds(transformer: Any) -> bool:
    """Whether its recipe may differ in the last digit: NumPy's order of a sum depends on the layout."""
    return isinstance(transformer, Normalizer) and transformer.norm != "max"


def _blocks(columns: Columns) -> dict[bool, list[int]]:
    """Positions of the number columns (False) and of the text columns (True)."""
    positions: dict[bool, list[int]] = {}
    for position, column in enumerate(columns):
        positions.setdefault(column.dtype == "string", []).append(position)
    return positions


def _text(value: object) -> str:
    if is_missing(value):
        return MISSING_CATEGORY
    if not isinstance(value, str):
        raise NoGraph(f"it meets {value!r} in a text column", "give the column text only")
    return value


def _number(value: object) -> float:
    if is_missing(value):
        return math.nan
    if isinstance(value, str):
        raise NoGraph(f"it meets the text {value!r} in a number column", "give the column numbers only")
    return float(value)  # type: ignore[arg-type]


def _impute(graph: Graph, imputer: SimpleImputer, columns: Columns) -> Columns:
    imputed: dict[int, Column] = {}
    statistics = list(imputer.statistics_)
    kept_columns = [
        i for i, fill in enumerate(statistics) if imputer.keep_empty_features or not is_missing(fill)
    ]
    for text, positions in _blocks(tuple(columns[i] for i in kept_columns)).items():
        block = tuple(columns[kept_columns[p]] for p in positions)
        values = [statistics[kept_columns[p]] for p in positions]
        filled = _fill_text(graph, imputer, block, values) if text else _fill(graph, imputer, block, values)
        imputed.update(zip(positions, filled.columns(), strict=True))
    joined = tuple(imputed[position] for position in range(len(kept_columns)))
    return joined + _indicator(graph, imputer, columns)


def _fill(graph: Graph, imputer: SimpleImputer, columns: Columns, values: list[object]) -> Tensor:
    dtype = _number_type(columns)
    x = graph.matrix(columns, dtype)
    fill = graph.constant(np.array([_number(value) for value in values]).astype(dtype))
    return Tensor(graph.add("Where", _absent(graph, imputer, x, dtype), fill, x), dtype, len(columns))


def _absent(graph: Graph, imputer: SimpleImputer, x: str, dtype: Dtype) -> str:
    if is_missing(imputer.missing_values):
        return graph.add("IsNaN", x)
    return graph.add("Equal", x, graph.constant(np.array(_number(imputer.missing_values), dtype)))


def _fill_text(graph: Graph, imputer: SimpleImputer, columns: Columns, values: list[object]) -> Tensor:
    x = graph.matrix(columns, "string")
    absent = graph.add("Equal", x, graph.constant(np.array(_text(imputer.missing_values), object)))
    fill = graph.constant(np.array([_text(value) for value in values], object))
    return Tensor(graph.add("Where", absent, fill, x), "string", len(columns))


def _indicator(graph: Graph, imputer: SimpleImputer, columns: Columns) -> Columns:
    indicator = imputer.indicator_
    if indicator is None or len(indicator.features_) == 0:
        return ()
    watched = tuple(columns[i] for i in indicator.features_)
    if any(column.dtype == "string" for column in watched):
        raise NoGraph("add_indicator=True on text columns", "leave it out and one-hot encode them")
    dtype = _number_type(watched)
    absent = _absent(graph, imputer, graph.matrix(watched, dtype), dtype)
    return Tensor(graph.cast(absent, dtype), dtype, len(watched)).columns()


def _one_hot(graph: Graph, encoder: OneHotEncoder, columns: Columns) -> Columns:
    encoded: dict[int, Columns] = {}
    for text, positions in _blocks(columns).items():
        if not text and encoder.handle_unknown == "error":
            raise NoGraph(
                "on number columns handle_unknown='error' refuses numbers the graph would answer",
                "fit it with handle_unknown='ignore', or turn these columns into text first",
            )
        pairs = [(i, category) for i in positions for category in encoder.categories_[i]]
        hits = _hits(graph, columns, pairs, text)
        groups = {i: _groups(encoder, i) for i in positions}
        encoded.update(_arrange(graph, hits, pairs, groups))
    return tuple(column for i in range(len(columns)) for column in encoded[i])


def _hits(graph: Graph, columns: Columns, pairs: list[tuple[int, object]], text: bool) -> str:
    """bool (rows, pairs): whether the column of each pair (column, category) holds its category."""
    sources = sorted({i for i, _ in pairs})
    x = graph.matrix(tuple(columns[i] for i in sources), "string" if text else "float64")
    if text:
        texts = sorted({_text(category) for _, category in pairs})
        x = _codes(graph, x, texts)
        categories = np.array([texts.index(_text(category)) for _, category in pairs], np.int64)
    else:
        categories = np.array([_number(category) for _, category in pairs])
        if np.isnan(categories).any():
            # NaN is equal to nothing. No request holds an infinity, so -inf stands for a missing number here.
            absent = graph.constant(np.array(-np.inf))
            x = graph.add("Where", graph.add("IsNaN", x), absent, x)
            categories = np.where(np.isnan(categories), -np.inf, categories)
    if len(set(zip((i for i, _ in pairs), categories.tolist(), strict=True))) != len(pairs):
        raise NoGraph("None and NaN are two categories of one column", "use one of them for missing")
    repeat = np.array([sources.index(i) for i, _ in pairs], np.int64)
    return graph.add(
        "Equal", graph.add("Gather", x, graph.constant(repeat), axis=1), graph.constant(categories)
    )


def _codes(graph: Graph, x: str, texts: list[str]) -> str:
    """int64: the position of each text in ``texts``, -1 for a text that is not there."""
    return graph.add(
        "LabelEncoder",
        x,
        domain=ML,
        keys_strings=texts,
        values_int64s=list(range(len(texts))),
        default_int64=-1,
    )


def _groups(encoder: OneHotEncoder, i: int) -> tuple[list[int | None], int, int | None]:
    """For column i: the output column of each category (None: dropped), their number, that of unknowns."""
    mapping = encoder._default_to_infrequent_mappings[i] if encoder._infrequent_enabled else None
    groups = list(range(len(encoder.categories_[i]))) if mapping is None else [int(m) for m in mapping]
    dropped_group = None if encoder.drop_idx_ is None else encoder._drop_idx_after_grouping[i]

    def output(group: int) -> int | None:
        if dropped_group is None or group < dropped_group:
            return group
        return None if group == dropped_group else group - 1

    unknown = None
    if mapping is not None and encoder.handle_unknown in ("infrequent_if_exist", "warn"):
        unknown = output(max(groups))
    return [output(group) for group in groups], int(encoder._n_features_outs[i]), unknown


def _arrange(
    graph: Graph,
    hits: str,
    pairs: list[tuple[int, object]],
    groups: dict[int, tuple[list[int | None], int, int | None]],
) -> dict[int, Columns]:
    starts, width = {}, 0
    for i, (_, count, _) in groups.items():
        starts[i], width = width, width + count
    weights, offsets, pair = np.zeros((len(pairs), width)), np.zeros(width), 0
    for i, (outputs, _, unknown) in groups.items():
        for output in outputs:
            if output is not None:
                weights[pair, starts[i] + output] = 1.0
            if unknown is not None:
                # A value that is no category of this column counts as infrequent.
                weights[pair, starts[i] + unknown] -= 1.0
            pair += 1
        if unknown is not None:
            offsets[starts[i] + unknown] = 1.0
    columns = _select(graph, hits, weights, offsets)
    return {i: columns[starts[i] : starts[i] + count] for i, (_, count, _) in groups.items()}


def _select(graph: Graph, hits: str, weights: Array, offsets: Array) -> Columns:
    """The columns of hits @ weights + offsets; if the weights only select columns, no node computes them."""
    ones = graph.cast(hits, "float64")
    if offsets.any() or (weights.sum(axis=0) != 1).any():
        sums = graph.add("Gemm", ones, graph.constant(weights), graph.constant(offsets))
        return Tensor(sums, "float64", weights.shape[1]).columns()
    tensor = Tensor(ones, "float64", weights.shape[0])
    return tuple(Column(tensor, int(index)) for index in weights.argmax(axis=0))


def _ordinal(graph: Graph, encoder: OrdinalEncoder, columns: Columns) -> Columns:
    encoded: dict[int, Column] = {}
    for text, positions in _blocks(columns).items():
        if not text and encoder.handle_unknown == "error":
            raise NoGraph(
                "on number columns handle_unknown='error' refuses numbers the graph would answer",
                "fit it with handle_unknown='use_encoded_value', or turn these columns into text first",
            )
        block = tuple(columns[i] for i in positions)
        texts = sorted({_text(c) for i in positions for c in encoder.categories_[i]}) if text else []
        widths = [len(texts) if text else len(encoder.categories_[i]) for i in positions]
        offsets = np.cumsum([0, *[width + 1 for width in widths]])[:-1].astype(np.int64)
        if text:
            ranks = _codes(graph, graph.matrix(block, "string"), texts)
        else:
            ranks = _number_ranks(graph, block, encoder, positions)
        codes = [_code_table(encoder, i, texts if text else None) for i in positions]
        # The code of unknown values, whose rank is -1, comes first.
        index = graph.add("Add", ranks, graph.constant(offsets + 1))
        coded = graph.add("Gather", graph.constant(np.concatenate(codes)), index)
        encoded.update(zip(positions, Tensor(coded, "float64", len(block)).columns(), strict=True))
    return tuple(encoded[i] for i in range(len(columns)))


def _number_ranks(graph: Graph, columns: Columns, encoder: OrdinalEncoder, positions: list[int]) -> str:
    pairs = [(k, category) for k, i in enumerate(positions) for category in encoder.categories_[i]]
    hits = graph.cast(_hits(graph, columns, pairs, text=False), "float64")
    weights, row = np.zeros((len(pairs), len(positions))), 0
    for k, i in enumerate(positions):
        for rank in range(len(encoder.categories_[i])):
            weights[row, k] = rank + 1
            row += 1
    ranks = graph.cast(graph.add("MatMul", hits, graph.constant(weights)), "int64")
    return graph.add("Sub", ranks, graph.constant(np.array(1, np.int64)))


def _code_table(encoder: OrdinalEncoder, i: int, texts: list[str] | None) -> Array:
    """The code of unknown values, then of each text (None: of each category of column i)."""
    unknown = encoder.unknown_value if encoder.handle_unknown == "use_encoded_value" else math.nan
    codes = _ordinal_codes(encoder, i)
    categories = list(encoder.categories_[i])
    if texts is None:
        return np.array([unknown, *codes], np.float64)
    by_text = {_text(category): code for category, code in zip(categories, codes, strict=True)}
    if len(by_text) != len(categories):
        raise NoGraph("None and NaN are two categories of one column", "use one of them for missing")
    return np.array([unknown, *(by_text.get(text, unknown) for text in texts)], np.float64)


def _ordinal_codes(encoder: OrdinalEncoder, i: int) -> list[float]:
    mapping = encoder._default_to_infrequent_mappings[i] if encoder._infrequent_enabled else None
    missing = encoder._missing_indices.get(i)
    codes = []
    for rank in range(len(encoder.categories_[i])):
        if rank == missing:
            codes.append(float(encoder.encoded_missing_value))
        else:
            codes.append(float(rank if mapping is None else mapping[rank]))
    return codes


def _selected(graph: Graph, selector: Any, columns: Columns) -> Columns:
    return tuple(columns[i] for i in selector.get_support(indices=True))


def _function(graph: Graph, transformer: FunctionTransformer, columns: Columns) -> Columns:
    if transformer.func is not None:
        raise NoGraph(
            "it calls Python code",
            "replace it with a scikit-learn transformer, or apply it before the pipeline",
        )
    return columns


RECIPES: dict[type, Recipe] = {
    StandardScaler: _standard,
    RobustScaler: _robust,
    MinMaxScaler: _min_max,
    MaxAbsScaler: _max_abs,
    Normalizer: _normalise,
    SimpleImputer: _impute,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
    FunctionTransformer: _function,
    **dict.fromkeys(
        (
            VarianceThreshold,
            SelectKBest,
            SelectPercentile,
            SelectFromModel,
            SelectFpr,
            SelectFdr,
            SelectFwe,
            GenericUnivariateSelect,
            RFE,
            RFECV,
            SequentialFeatureSelector,
        ),
        _selected,
    ),
}
