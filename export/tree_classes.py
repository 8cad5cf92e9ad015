"""The classes of scikit-learn that answer by trees, by the way in which they keep and add them.

IsolationForest is a kind of its own. Readers and converters know how each kind answers by its trees.
"""

from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

TREE_CLASSIFIERS = (DecisionTreeClassifier, ExtraTreeClassifier)
TREE_REGRESSORS = (DecisionTreeRegressor, ExtraTreeRegressor)
FOREST_CLASSIFIERS = (RandomForestClassifier, ExtraTreesClassifier)
FOREST_REGRESSORS = (RandomForestRegressor, ExtraTreesRegressor)

# A single tree; a forest, the mean of its trees; boosting, with the sum or the votes of its trees.
TREES = (*TREE_CLASSIFIERS, *TREE_REGRESSORS)
FORESTS = (*FOREST_CLASSIFIERS, *FOREST_REGRESSORS)
ADA_BOOSTS = (AdaBoostClassifier, AdaBoostRegressor)
GRADIENT_BOOSTINGS = (GradientBoostingClassifier, GradientBoostingRegressor)
HISTOGRAMS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
