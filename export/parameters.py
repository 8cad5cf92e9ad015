"""The parameters of an unfitted estimator as JSON, and the estimator made from them again."""
