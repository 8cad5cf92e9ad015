"""A batch job: the parts that are not done are scored, and each is noted once its files are there."""

from collections.abc import Sequence

from msgspec.structs import replace

from unpickled.server.batch.bound import Bound
from unpickled.server.batch.done import Done
from unpickled.server.batch.engines.engine import Engine
from unpickled.server.batch.estimate import Estimate
from unpickled.server.batch.failures import shown
from unpickled.server.batch.log.beginning import begun
from unpickled.server.batch.places.paths import joined
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.plan import REFUSED
from unpickled.server.batch.progress import Progress
from unpickled.server.batch.task import Part, Task
from unpickled.server.batch.totals import Totals
from unpickled.server.config import Log
from unpickled.server.errors import ServingError


class Job:
    """Scores parts into a folder.

    Args:
        task: The model and the columns.
        parts: All parts.
        out: Their folder.
        engine: Scores them.
        bound: The most rows that may be refused.
        log: The payload log that gets the answered rows.

    Attributes:
        totals: The sums of the parts that are done.
    """

    def __init__(
        self,
        task: Task,
        parts: Sequence[Part],
        out: str,
        engine: Engine,
        bound: Bound | None = None,
        log: Log | None = None,
    ) -> None:
        self.totals = Totals()
        self._task, self._parts, self._out, self._engine = task, parts, out, engine
        self._bound, self._log = bound or Bound(), log
        self._place = place_of(out)

    def run(self, restart: bool = False, again: bool = False) -> Totals:
        """Score the parts that are not done.

        Args:
            restart: Forget what is done, and remove its files.
            again: Score parts anew whose source has changed since, or whose target is gone.

        Raises:
            ServingError: Another job has the folder, or its parts; a part cannot be scored; too many rows
                are refused; the folder cannot be read or written.
        """
        try:
            with self._place.locked(self._out):
                self._run(restart, again)
        except BrokenPipeError:
            raise
        except OSError as error:
            remedy = "the same command goes on once that is mended"
            raise ServingError(f"{self._out}: {shown(error)}: {remedy}") from error
        return self.totals

    def _run(self, restart: bool, again: bool) -> None:
        self._place.sweep(self._out)
        done = Done(self._place, self._out, damaged=restart)
        if restart:
            done.forget()
        if self._log is not None:
            # Two jobs that begin at once would each have a token of their own.
            self._task = replace(self._task, logged=begun(self._out, self._log))
        done.begin(self._task, self._parts)
        left = done.left(self._parts, again)
        self._count_earlier(done, left)
        self._score(done, left)

    def _count_earlier(self, done: Done, left: Sequence[Part]) -> None:
        again = {part.target for part in left}
        for part in self._parts:
            if part.target not in again:
                self.totals.add(done.results[part.target])
                self.totals.earlier += 1

    def _score(self, done: Done, left: Sequence[Part]) -> None:
        estimate = Estimate(left)
        progress = Progress(estimate.total, estimate.exact)
        total = estimate.total + self.totals.rows + self.totals.refused if estimate.exact else None
        self._check(total)
        results = self._engine.run(self._task, left, progress.told)
        try:
            for result in results:
                done.add(result)
                self.totals.add(result)
                self._check(total)
        finally:
            # An engine ends its processes when its generator is closed.
            if close := getattr(results, "close", None):
                close()
            progress.clear()
            self._place.sweep(self._out)
        self._check(self.totals.rows + self.totals.refused)

    def _check(self, rows: int | None) -> None:
        """ServingError where too many rows are refused; ``rows`` is None until their number is known."""
        bound = self._bound if rows is not None else Bound(self._bound.rows)
        remedy = f"look into {joined(self._out, REFUSED)}, and go on with a higher --max-refused"
        bound.check(self.totals.refused, rows or 0, remedy)
