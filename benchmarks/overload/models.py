"""The models under overload."""

from typing import Any

from benchmarks.measuring.pipelines import RECIPES, Recipe


def _deep() -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    # So many layers cost milliseconds for one row, and yet fit into a processor's cache: neighbours on the
    # machine do not change its time. They answer all rows nearly alike; the other half of the vote does not.
    deep = MLPClassifier((32,) * 600, tol=1e9, n_iter_no_change=1, random_state=0)
    return VotingClassifier([("line", LogisticRegression()), ("deep", deep)], voting="soft")


# A refusal has to cost little beside an answer: ten times the capacity are nine refusals for each answer.
MODELS = {
    "deep": Recipe("breast_cancer", "vote of a logistic regression and a network of 600 layers", 4, _deep),
    "iris": RECIPES["iris"],
}
