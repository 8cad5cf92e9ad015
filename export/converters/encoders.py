"""Converters for encoders of categories, which are texts or numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from unpickled.export.converters.cells import blocks, number_of, text_of
from unpickled.export.converters.numbers import Converter
from unpickled.export.data.missing import is_missing
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ML, Array, Column, Columns, Graph, Tensor


def _one_hot(graph: Graph, encoder: OneHotEncoder, columns: Columns) -> Columns:
    encoded: dict[int, Columns] = {}
    for text, positions in blocks(columns).items():
        if not text and encoder.handle_unknown == "error":
            _know(graph, columns, encoder, positions, "handle_unknown='ignore'")
        pairs = [(i, category) for i in positions for category in encoder.categories_[i]]
        hits = _hits(graph, columns, pairs, text)
        groups = {i: _groups(encoder, i) for i in positions}
        encoded.update(_arrange(graph, hits, pairs, groups))
    return tuple(column for i in range(len(columns)) for column in encoded[i])


def _know(graph: Graph, columns: Columns, encoder: Any, positions: list[int], remedy: str) -> None:
    """Note the numbers that the encoder knows, as it refuses others and a graph cannot."""
    for i in positions:
        feature = columns[i].feature
        if feature is None:
            raise NoGraph(
                "handle_unknown='error' refuses numbers that another step computes, and a graph refuses none",
                f"fit it with {remedy}",
            )
        graph.know(feature, _spellings(encoder.categories_[i]))


def _spellings(categories: Array) -> list[float]:
    """The numbers as requests may give them: 0.1 too, if the nearest float32 to it is a category."""
    known = [category for category in categories if not is_missing(category)]
    short = [float(str(category)) for category in known if isinstance(category, np.float32)]
    return [number + 0.0 for number in (*map(number_of, known), *short)]


def _hits(graph: Graph, columns: Columns, pairs: list[tuple[int, object]], text: bool) -> str:
    """bool (rows, pairs): whether the column of each pair (column, category) holds its category."""
    sources = sorted({i for i, _ in pairs})
    x = graph.matrix(tuple(columns[i] for i in sources), "string" if text else "float64")
    if text:
        texts = sorted({text_of(category) for _, category in pairs})
        x = _codes(graph, x, texts)
        categories = np.array([texts.index(text_of(category)) for _, category in pairs], np.int64)
    else:
        categories = np.array([number_of(category) for _, category in pairs])
        if np.isnan(categories).any():
            # NaN is equal to nothing. No request holds an infinity, so -inf stands for a missing number here.
            absent = graph.constant(np.array(-np.inf))
            x = graph.add("Where", graph.add("IsNaN", x), absent, x)
            categories = np.where(np.isnan(categories), -np.inf, categories)
        _check_integers(category for _, category in pairs)
    if len(set(zip((i for i, _ in pairs), categories.tolist(), strict=True))) != len(pairs):
        raise NoGraph("None and NaN are two categories of one column", "use one of them for missing")
    repeat = np.array([sources.index(i) for i, _ in pairs], np.int64)
    return graph.add(
        "Equal", graph.add("Gather", x, graph.constant(repeat), axis=1), graph.constant(categories)
    )


def _check_integers(categories: Iterable[object]) -> None:
    """Refuse integers that doubles, which the numbers of requests are, do not tell from their neighbors."""
    for category in categories:
        if isinstance(category, int | np.integer) and abs(int(category)) >= 2**53:
            raise NoGraph(
                f"it knows the integer {category}, and requests have doubles, which take integers from 2**53 "
                "up for their neighbors",
                "fit it on the column as text",
            )


def _codes(graph: Graph, x: str, texts: list[str]) -> str:
    """int64: the position of each text in ``texts``, -1 for a text that is not there."""
    if graph.standard:
        last = graph.constant(np.array([-1], np.int64))
        equal = graph.add("Equal", graph.add("Unsqueeze", x, last), graph.constant(texts))
        numbers = graph.constant(np.arange(1, len(texts) + 1))
        places = graph.add("Mul", graph.cast(equal, "int64"), numbers)
        return graph.add("Add", graph.add("ReduceSum", places, last, keepdims=0), last)
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
    for text, positions in blocks(columns).items():
        if not text and encoder.handle_unknown == "error":
            _know(graph, columns, encoder, positions, "handle_unknown='use_encoded_value'")
        texts = _texts(encoder, positions, text)
        ranks = _ranks(graph, columns, encoder, positions, texts)
        tables = [_code_table(encoder, i, texts) for i in positions]
        coded = _looked_up(graph, ranks, tables)
        encoded.update(zip(positions, Tensor(coded, "float64", len(positions)).columns(), strict=True))
    return tuple(encoded[i] for i in range(len(columns)))


def _ranks(graph: Graph, columns: Columns, encoder: Any, positions: list[int], texts: list[str]) -> str:
    """int64 (rows, positions): the rank of each category, of text its place in ``texts``; -1 if unknown."""
    block = tuple(columns[i] for i in positions)
    if texts:
        return _codes(graph, graph.matrix(block, "string"), texts)
    pairs = [(k, category) for k, i in enumerate(positions) for category in encoder.categories_[i]]
    hits = graph.cast(_hits(graph, block, pairs, text=False), "float64")
    weights = np.zeros((len(pairs), len(positions)))
    ranks = [rank for i in positions for rank in range(len(encoder.categories_[i]))]
    weights[np.arange(len(pairs)), [k for k, _ in pairs]] = np.array(ranks) + 1
    places = graph.cast(graph.add("MatMul", hits, graph.constant(weights)), "int64")
    return graph.add("Sub", places, graph.constant(np.array(1, np.int64)))


def _texts(encoder: Any, positions: list[int], text: bool) -> list[str]:
    """All texts that are a category of one of these columns, in order; none for number columns."""
    return sorted({text_of(c) for i in positions for c in encoder.categories_[i]}) if text else []


def _looked_up(graph: Graph, ranks: str, tables: list[Array]) -> str:
    """The entry of each column's table at its rank; the entry for unknown values, of rank -1, comes first."""
    offsets = np.cumsum([0, *map(len, tables)])[:-1].astype(np.int64)
    index = graph.add("Add", ranks, graph.constant(offsets + 1))
    return graph.add("Gather", graph.constant(np.concatenate(tables)), index)


def _code_table(encoder: OrdinalEncoder, i: int, texts: list[str]) -> Array:
    unknown = encoder.unknown_value if encoder.handle_unknown == "use_encoded_value" else math.nan
    return _table(encoder.categories_[i], _ordinal_codes(encoder, i), unknown, texts)


def _table(categories: Array, codes: Sequence[float], unknown: float, texts: list[str]) -> Array:
    """The code of unknown values, then that of each text; without texts, that of each category."""
    if not texts:
        return np.array([unknown, *codes], np.float64)
    by_text = {text_of(category): code for category, code in zip(categories, codes, strict=True)}
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


def _target(graph: Graph, encoder: TargetEncoder, columns: Columns) -> Columns:
    """One column per feature; for several classes, one per feature and class."""
    means = np.atleast_1d(encoder.target_mean_).astype(np.float64)
    encoded: dict[tuple[int, int], Column] = {}
    for text, positions in blocks(columns).items():
        texts = _texts(encoder, positions, text)
        ranks = _ranks(graph, columns, encoder, positions, texts)
        for k, mean in enumerate(means):
            tables = [
                _table(encoder.categories_[i], encoder.encodings_[i * len(means) + k], mean, texts)
                for i in positions
            ]
            tensor = Tensor(_looked_up(graph, ranks, tables), "float64", len(positions))
            encoded.update(zip([(i, k) for i in positions], tensor.columns(), strict=True))
    return tuple(encoded[i, k] for i in range(len(columns)) for k in range(len(means)))


def coded(graph: Graph, columns: Columns, codes: Sequence[Mapping[str, float]], unknown: float) -> Columns:
    """For each of these columns of text, the codes of its texts; ``unknown`` for texts without one."""
    texts = sorted({text for of_column in codes for text in of_column}) or [""]
    ranks = _codes(graph, graph.matrix(columns, "string"), texts)
    tables = [np.array([unknown, *(of_column.get(text, unknown) for text in texts)]) for of_column in codes]
    return Tensor(_looked_up(graph, ranks, tables), "float64", len(columns)).columns()


CONVERTERS: dict[type, Converter] = {
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
    TargetEncoder: _target,
}
