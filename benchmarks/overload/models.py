"""The models under overload."""

from typing import Any

from benchmarks.measuring.pipelines import RECIPES, Recipe


def _wide() -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    # One row takes long, as it needs each of 16 million weights; a batch needs them once. A network that
    # is not trained long answers all rows nearly alike; the other half of the vote does not.
    wide = MLPClassifier((1024,) * 16, tol=1e9, n_iter_no_change=1, random_state=0)
    return VotingClassifier([("line", LogisticRegression()), ("wide", wide)], voting="soft")


# A refusal has to cost little beside an answer: ten times the capacity are nine refusals for each answer.
MODELS = {
    "wide": Recipe(
        "breast_cancer", "vote of a logistic regression and a network of 16 layers of 1,024", 4, _wide
    ),
    "iris": RECIPES["iris"],
}
