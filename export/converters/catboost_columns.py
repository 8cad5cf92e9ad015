"""The columns that CatBoost's trees see: numbers, codes of categories, and the numbers of counters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost
from unpickled.export.boosters.catboost_counters import Counter, Question, key
from unpickled.export.converters import encoders
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Columns, Graph, Tensor
from unpickled.export.trees import Tree

# Column -> hash -> code: 1, 2 and so on; a text that is not known has the code 0.
Codes = dict[int, dict[int, int]]
# Numbers in the table of all counters.
CELLS = 4_000_000


def seen(graph: Graph, model: Any, read: catboost.Read, columns: Columns) -> tuple[Sequence[Tree], Columns]:
    """The trees on codes instead of hashes, and the columns for them."""
    places, trees = list(model.get_cat_feature_indices()), read.boosted.trees
    _check_kinds(columns, places)
    if not places:
        return trees, columns
    texts = {place: _candidates(graph, columns, place) for place in places}
    hashes = catboost.hashes(model, set().union(*texts.values()))
    codes = {
        place: {number: code for code, number in enumerate(sorted({hashes[text] for text in known}), 1)}
        for place, known in texts.items()
    }
    for place in places:
        _check_known(columns, place, len(_split(trees, place) - codes[place].keys()))
    tables = [{text: float(codes[place][hashes[text]]) for text in texts[place]} for place in places]
    coded = encoders.coded(graph, tuple(columns[place] for place in places), tables, 0.0)
    at = dict(zip(places, coded, strict=True))
    columns = tuple(at.get(place, column) for place, column in enumerate(columns))
    renumbered = [replace(tree, sets=_renumbered(tree, codes)) for tree in trees]
    return renumbered, columns + _counted(graph, read.counters, columns, codes)


def _candidates(graph: Graph, columns: Columns, place: int) -> set[str]:
    """All texts that a column may hold as far as is known."""
    feature = columns[place].feature
    of_rows = graph.texts.values() if feature is None else [graph.texts.get(feature, set())]
    return graph.filled.union(*of_rows)


def _split(trees: Sequence[Tree], place: int) -> set[int]:
    """All hashes by which the trees split a column."""
    return {
        int(number)
        for tree in trees
        for node, numbers in tree.sets.items()
        if tree.feature[node] == place
        for number in numbers
    }


def _renumbered(tree: Tree, codes: Codes) -> dict[int, Any]:
    return {
        node: np.array([codes[int(tree.feature[node])][int(number)] for number in numbers], np.int64)
        for node, numbers in tree.sets.items()
    }


def _counted(graph: Graph, counters: Sequence[Counter], columns: Columns, codes: Codes) -> Columns:
    """A column for each counter: its number at the place of the row's combination in a table."""
    if not counters:
        return ()
    questions = list(dict.fromkeys(question for counter in counters for question in counter.questions))
    parts = list(codes)
    tables = _tables(counters, codes, columns)
    strides = np.zeros((len(parts) + len(questions), len(counters)))
    for index, (counter, table) in enumerate(zip(counters, tables, strict=True)):
        rows = [parts.index(place) for place in counter.columns]
        rows += [len(parts) + questions.index(question) for question in counter.questions]
        strides[rows, index] = np.array(table.strides) // table.itemsize
    asked = _asked(graph, questions, columns, codes)
    combination = graph.matrix((*(columns[place] for place in parts), *asked))
    place = graph.cast(graph.add("MatMul", combination, graph.constant(strides)), "int64")
    starts = np.cumsum([0, *(table.size for table in tables[:-1])]).astype(np.int64)
    place = graph.add("Add", place, graph.constant(starts))
    cells = np.concatenate([table.ravel() for table in tables])
    return Tensor(graph.add("Gather", graph.constant(cells), place), "float64", len(counters)).columns()


def _tables(counters: Sequence[Counter], codes: Codes, columns: Columns) -> list[Array]:
    """For each counter its numbers by the codes of the categories, then by the answers to its questions."""
    shapes = [
        (*(len(codes[place]) + 1 for place in counter.columns), *(2 for _ in counter.questions))
        for counter in counters
    ]
    if sum(float(np.prod(shape)) for shape in shapes) > CELLS:
        raise NoGraph("it counts the combinations of too many categories", "fit it with max_ctr_complexity=1")
    return [_table(counter, shape, codes, columns) for counter, shape in zip(counters, shapes, strict=True)]


def _table(counter: Counter, shape: tuple[int, ...], codes: Codes, columns: Columns) -> Array:
    """The numbers of a counter; those of its keys have to be all there."""
    axes = [np.array(sorted(codes[place]), np.int64) for place in counter.columns]
    axes += [np.array([0, 1], np.int64) for _ in counter.questions]
    keys = key(*np.meshgrid(*axes, indexing="ij"))
    _check_known(columns, counter.columns[0], int((~np.isin(counter.keys, keys)).sum()))
    table = np.full(shape, counter.other)
    # The first line of each category column is for the texts that are not known.
    table[tuple(slice(size - len(axis), None) for size, axis in zip(shape, axes, strict=True))] = (
        counter.looked_up(keys)
    )
    return table


def _asked(graph: Graph, questions: Sequence[Question], columns: Columns, codes: Codes) -> Columns:
    """The answers to all questions, as 0 or 1, in order."""
    answers: dict[Question, Columns] = {}
    for kind in ("Greater", "LessOrEqual", "Equal"):
        chosen = [question for question in questions if _operator(question) == kind]
        if not chosen:
            continue
        x = graph.matrix(tuple(columns[question.column] for question in chosen))
        bounds = np.array([_bound(question, codes) for question in chosen])
        answer = graph.add(kind, x, graph.constant(bounds))
        # A missing number, which is not below any threshold, is above it.
        answer = graph.add("Not", answer) if kind == "LessOrEqual" else answer
        bits = Tensor(graph.cast(answer, "float64"), "float64", len(chosen)).columns()
        answers.update((question, (bit,)) for question, bit in zip(chosen, bits, strict=True))
    return tuple(answers[question][0] for question in questions)


def _operator(question: Question) -> str:
    if question.value is not None:
        return "Equal"
    return "LessOrEqual" if question.missing_above else "Greater"


def _bound(question: Question, codes: Codes) -> float:
    """The threshold, or the code of the category; -1, which is no code, if no row has it."""
    if question.value is None:
        return question.threshold
    return float(codes[question.column].get(question.value, -1))


def _check_kinds(columns: Columns, places: Sequence[int]) -> None:
    """Refuse text where the model takes numbers, and numbers where it takes categories."""
    for place, column in enumerate(columns):
        if column.dtype == "string" and place not in places:
            raise NoGraph(f"its column {_name(columns, place)} holds text", "name it in cat_features")
        if column.dtype != "string" and place in places:
            raise NoGraph(
                f"its column {_name(columns, place)} of categories holds numbers",
                "give it as text, as X[column].astype(str): CatBoost takes 1 and '1' for one category",
            )


def _check_known(columns: Columns, place: int, unknown: int) -> None:
    """Refuse a model that knows categories of a column whose text is not known."""
    if unknown:
        raise NoGraph(
            f"it was trained on {unknown} categories of its column {_name(columns, place)} that the rows "
            "given lack, and it keeps no list of them",
            "give all of the training rows",
        )


def _name(columns: Columns, place: int) -> str:
    feature = columns[place].feature
    return str(place) if feature is None else repr(feature)
