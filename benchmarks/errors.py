"""What ends a benchmark."""


class BenchmarkError(Exception):
    """One sentence that names place and remedy."""


def last_line(*texts: str) -> str:
    """Of the first text that has one: what a program that failed said last, for a sentence."""
    lines = next((text.strip().splitlines() for text in texts if text.strip()), ["no message"])
    return lines[-1].strip()[:300]
