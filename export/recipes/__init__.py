"""Graphs of scikit-learn's estimators, one function each."""
