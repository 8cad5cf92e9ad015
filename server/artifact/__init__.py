"""The model file: what it says of itself, and what is checked before anything loads it."""
