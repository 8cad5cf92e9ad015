"""Explaining one prediction: how much each feature of its row moves the answer from that to a typical row."""
