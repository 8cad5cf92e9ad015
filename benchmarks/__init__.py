"""Load tests and comparisons: HTTP against processes, nothing of the server's own code (but stages.py)."""
