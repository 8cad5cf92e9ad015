"""A boosting library: its estimators, and all that the export asks of a fitted one."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from unpickled.export.boosters.boosted import Boosted
from unpickled.export.trees import Floats


class Sight(Protocol):
    """How the trees of a model see the columns of the rows."""

    def columns(self, rows: Any) -> Floats:
        """(rows, columns): what the trees see of rows as the model takes them."""


@dataclass(frozen=True, slots=True)
class Library:
    """A boosting library, which is never imported here.

    Attributes:
        name: The name of its module, and of the extra that installs it.
        classifiers: The names of its classes that classify.
        regressors: The names of its classes that predict numbers.
        boosted: (model) -> its trees and its link. Raises NoGraph for a model that no graph computes.
        sight: (model) -> how its trees see rows. Raises NoGraph likewise.
        categories: (model) -> position -> categories of the columns that had pandas' dtype category in the
            fit; empty if the model does not tell all of them.
        knows_dtypes: (model) -> whether it knows columns of that dtype.
        texts: (model) -> positions of the columns that it takes as text; None if it does not tell.
        column_names: (model) -> the names of the columns of the fit; None if they had no names.
        width: (model) -> the number of columns of the fit, if scikit-learn's ``n_features_in_`` may lack it.
        threshold: (model) -> the probability that the second class has to exceed to be the label; None if
            the label is the class of the best score.
        spelled: (label) -> the name by which it knows the column; None if it keeps labels as they are.
        takes_gaps: Whether it takes a zero that a sparse matrix leaves out for a missing value.
        single: Whether it adds float32 numbers.
        rounds_integers: Whether it rounds whole numbers to float32 that come in an array of integers.
    """

    name: str
    classifiers: tuple[str, ...]
    regressors: tuple[str, ...]
    boosted: Callable[[Any], Boosted]
    sight: Callable[[Any], Sight]
    categories: Callable[[Any], Mapping[int, Sequence[Any]]] = lambda model: {}
    knows_dtypes: Callable[[Any], bool] = lambda model: False
    texts: Callable[[Any], Sequence[int]] | None = None
    column_names: Callable[[Any], Sequence[str] | None] = lambda model: getattr(
        model, "feature_names_in_", None
    )
    width: Callable[[Any], int | None] = lambda model: None
    threshold: Callable[[Any], float | None] = lambda model: None
    spelled: Callable[[Hashable], str] | None = None
    takes_gaps: bool = False
    single: bool = False
    rounds_integers: bool = False

    def classifies(self, step: Any) -> bool:
        """Whether it is a classifier of this library."""
        return self._names(step, self.classifiers)

    def predicts(self, step: Any) -> bool:
        """Whether it is a regressor of this library."""
        return self._names(step, self.regressors)

    def _names(self, step: Any, names: tuple[str, ...]) -> bool:
        return type(step).__module__.split(".")[0] == self.name and type(step).__name__ in names
