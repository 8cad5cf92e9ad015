"""The cost of what a server sees of its models: the range, drift, truth and the payload log."""
