"""The callers of a server: their keys and tokens, what these allow, and how many requests."""
