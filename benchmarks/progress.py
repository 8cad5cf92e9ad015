"""Progress on stderr: the minutes passed, and an estimate of those left."""

import sys
import time


class Progress:
    """Prints sentences; where ``turns`` are announced, it estimates the time left by those that are over."""

    def __init__(self, turns: int = 0) -> None:
        self._started = time.monotonic()
        self._turns = turns
        self._done = 0

    def __call__(self, sentence: str, turn: bool = False) -> None:
        """Print a sentence; ``turn`` is true where a turn is over."""
        self._done += turn
        passed = time.monotonic() - self._started
        remaining = passed / self._done * (self._turns - self._done) if self._done else None
        estimate = "" if remaining is None else f", {remaining / 60:.0f} min left"
        print(f"[{passed / 60:4.1f} min{estimate}] {sentence}", file=sys.stderr, flush=True)
