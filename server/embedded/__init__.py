"""A model in the memory of any Python process, without a server."""
