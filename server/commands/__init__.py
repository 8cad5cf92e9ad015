"""The commands that serve models, and that list and change which versions are served."""
