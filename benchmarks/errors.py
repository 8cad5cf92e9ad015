"""The error that ends a benchmark."""


class BenchmarkError(Exception):
    """One sentence that names place and remedy."""


def last_line(*texts: str) -> str:
    """The last line of the first text that is not empty: the reason that a failed program gives."""
    lines = next((text.strip().splitlines() for text in texts if text.strip()), ["no message"])
    return lines[-1].strip()[:300]
