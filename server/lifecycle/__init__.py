"""The life of a model in service: what is asked for, what is on disk, what is served, what was."""
