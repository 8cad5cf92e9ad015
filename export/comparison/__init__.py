"""A version beside earlier ones on the same rows: which is better, by how much, and where."""
