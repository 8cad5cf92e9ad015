"""python -m server models ...: who is served, and changing it, on the files alone."""
