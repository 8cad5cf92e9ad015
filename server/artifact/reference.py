"""How the training rows spread over the features and the predictions: what drift is measured against.

Counts of groups alone: none is of fewer than FEWEST rows, so that nothing is said about a few people. The
export makes them (export/reference.py), ``drift/`` reads them. A file of an earlier release has none.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from unpickled.server.quote import quoted

# No count is of fewer rows, but for 0.
FEWEST = 10
# The most categories of a feature that have a count of their own.
MOST = 20


class Spread(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many training rows lie in each cell of a feature, or of a prediction.

    A cell of numbers is (lower, upper]: ``bounds`` are what parts the cells, in ascending order, one less
    than ``counts``; the first cell has no lower end and the last one no upper end. Each of ``categories``,
    which for predicted classes are their names, has a cell, and the last cell is all others.

    ``missing`` counts the rows without a value, ``unseen`` the rows whose category no other row has: of as
    many new rows, so many are expected to have a category that training does not know. Each of 1 to 9 stands
    there as 10. ``counts`` and ``missing`` add up to the rows of the Reference.
    """

    name: str
    counts: tuple[int, ...]
    bounds: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    missing: int = 0
    unseen: int = 0


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The spread of ``rows`` training rows over the features, and of the pipeline's predictions for them.

    A feature that has too few rows, or too few values, to be counted in groups is left out. ``predictions``
    has one Spread of a classifier, called "prediction", and one for each target of a regressor.
    """

    rows: int
    features: tuple[Spread, ...] = ()
    predictions: tuple[Spread, ...] = ()


def faults(
    reference: Reference, kinds: Mapping[str, str], classes: Sequence[str], targets: Sequence[str]
) -> Iterator[str]:
    """The rules that a reference breaks.

    Args:
        reference: The reference.
        kinds: The kind of each feature of its manifest, by name.
        classes: The names of the classes; none of a regressor.
        targets: The targets; none of a classifier.
    """
    yield from _faults_of_names("feature", reference.features, tuple(kinds))
    yield from _faults_of_names("prediction", reference.predictions, targets or ("prediction",))
    for spread in reference.features:
        yield from _faults_of_cells(spread, kinds[spread.name] == "category", reference.rows)
    for spread in reference.predictions:
        yield from _faults_of_cells(spread, bool(classes), reference.rows)
        strange = [name for name in spread.categories if name not in classes]
        if strange:
            yield f"its reference has the class {quoted(strange[0])}, which is none"


def _faults_of_names(noun: str, spreads: Sequence[Spread], known: Sequence[str]) -> Iterator[str]:
    names = [spread.name for spread in spreads]
    for name in names:
        if name not in known:
            yield f"its reference has the {noun} {quoted(name)}, which is none"
        if names.count(name) > 1:
            yield f"its reference has the {noun} {quoted(name)} twice"


def _faults_of_cells(spread: Spread, is_category: bool, rows: int) -> Iterator[str]:
    where = f"the reference of {quoted(spread.name)}"
    if spread.bounds if is_category else spread.categories:
        yield f"{where} is of another kind"
    if len(set(spread.categories)) != len(spread.categories):
        yield f"{where} has a category twice"
    if any(after <= before for before, after in pairwise(spread.bounds)):
        yield f"the bounds in {where} do not ascend"
    if len(spread.counts) != len(spread.categories if is_category else spread.bounds) + 1:
        yield f"{where} has {len(spread.counts)} counts, which do not fit its cells"
    numbers = (*spread.counts, spread.missing, spread.unseen)
    if min(numbers) < 0 or sum(spread.counts) <= 0 or sum(spread.counts) + spread.missing != rows:
        yield f"the counts in {where} do not add up to its {rows} rows"
