"""Converters: functions that write the graph of one kind of scikit-learn estimator each."""
