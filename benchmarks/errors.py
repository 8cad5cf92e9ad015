"""What ends a benchmark."""


class BenchmarkError(Exception):
    """One sentence that names place and remedy."""
