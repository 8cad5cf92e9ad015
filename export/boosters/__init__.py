"""Readers of the models of other boosting libraries, none of which is imported."""
