"""Scores the parts of a batch job with one version of a model, wherever the process runs."""

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import BinaryIO, NamedTuple

import numpy as np

from unpickled.server.artifact.manifest import FILE
from unpickled.server.batch.counts import Counts
from unpickled.server.batch.failures import named
from unpickled.server.batch.forms import registry
from unpickled.server.batch.forms.answers import Answers
from unpickled.server.batch.forms.form import Chunk, Form, Given, Source, Writer
from unpickled.server.batch.kept import Keep
from unpickled.server.batch.log import identified
from unpickled.server.batch.log.identified import Identified
from unpickled.server.batch.log.logger import Logger, Logging
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.refusals import Refusals, opened
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.feeds import Column
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.session import Model, load
from unpickled.server.scoring.scorer import Scored, Scorer


def ignored(rows: int) -> None:
    """Tell nobody."""


class _Answered(NamedTuple):
    """A chunk, its columns as they were scored, and its answers."""

    chunk: Chunk
    columns: dict[str, Column]
    scored: Scored


class Worker:
    """Scores parts. Any thread may call it, for several parts at once.

    Args:
        task: The job.
        threads: Threads that score one part: more than one pays off for Parquet and Arrow.

    Raises:
        ServingError: The model's file is not there, is another than that of the task, or cannot be loaded.

    Example:
        >>> import hashlib
        >>> from pathlib import Path
        >>> sha256 = hashlib.sha256(Path("models/iris/1/model.onnx").read_bytes()).hexdigest()
        >>> task = Task(model="models/iris", name="iris", version=1, sha256=sha256)
        >>> text = "id,petal_width,petal_length,sepal_width,sepal_length\\n7,0.2,1.4,3.5,5.1\\n"
        >>> size = Path("new.csv").write_text(text)
        >>> part = Part(source="new.csv", target="scored/new.csv", refused="scored/new.jsonl", size=size)
        >>> Worker(task).score(part).rows
        1
        >>> Path("scored/new.csv").read_text()[:30]
        'id,prediction,predicted_class,'
    """

    def __init__(self, task: Task, threads: int = 1) -> None:
        model = _loaded(task)
        ranges = Ranges(model.manifest, task.policy).undescribed()
        self.predictor = Predictor(model, sys.maxsize, "ignore", ranges=ranges)
        self._task = task
        self._threads = threads
        self._scorer = Scorer(self.predictor)
        self._answers = Answers(self.predictor.outputs, task.prefix)
        self._keep = Keep(task, self.predictor.signature.names)
        self._logger = None if task.logged is None else Logger(task, model)
        self._ids_name = f"{task.prefix}{identified.NAME}"

    def score(self, part: Part, told: Callable[[int], None] = ignored) -> Result:
        """Score a part: its target, and the file of its refused rows, appear whole or not at all.

        The same part makes the same files.

        Args:
            part: The part.
            told: Is told how many more rows have been scored.

        Raises:
            ServingError: The part cannot be read or written, or is not for the model; the sentence names it.
        """
        start = perf_counter()
        with named(part), ExitStack() as stack:
            place, source = place_of(part.target), place_of(part.source)
            file = stack.enter_context(source.open(part.source))
            content = stack.enter_context(registry.unpacked(part.source, file))
            target = stack.enter_context(place.write(part.target))
            output = stack.enter_context(registry.packed(part.target, target))
            # Entered last, the file of refused rows appears before the target does.
            refusals = Refusals(opened(stack, partial(place.write, part.refused)))
            form = registry.form_of(part.source)
            # Entered after the target, the part of the log appears before it.
            log = stack.enter_context(self.logged(part))
            counts = self.stream(form, content, registry.form_of(part.target), output, refusals, told, log)
            source.check(file)
        if not refusals.count:
            place.remove(part.refused)
        return Result(
            part=part,
            rows=counts.rows,
            refused=refusals.count,
            seconds=perf_counter() - start,
            reasons=tuple(refusals.reasons),
            outside=counts.outside,
            features=tuple(counts.features),
        )

    def logged(self, part: Part) -> AbstractContextManager[Logging | None]:
        """The payload log of a part, there once the block ends without an error; None without a log."""
        return nullcontext() if self._logger is None else self._logger.part(part)

    def stream(
        self,
        form: Form,
        file: BinaryIO,
        target_form: Form,
        target: BinaryIO,
        refusals: Refusals,
        told: Callable[[int], None] = ignored,
        log: Logging | None = None,
    ) -> Counts:
        """Score the table in an open file, and write it to another one; ``log`` gets the answered rows.

        Raises:
            RequestError: The table is not for the model.
            OSError, ValueError: It cannot be read or written.
        """
        source = self.opened(form, file)
        empty = source.empty.kept(self._keep)
        writer = target_form.write(target, self._answers, self._identified(empty, _NOTHING, log))
        counts = Counts(refusals)
        try:
            for chunk, columns, scored in self._scored(source.chunks()):
                if log is not None:
                    log.add(columns, scored, chunk.first)
                self._write(writer, chunk, scored, counts, log)
                told(len(chunk.given) + len(chunk.faults))
            if counts.rows:
                # Records may each have other members: their end says which of them there are.
                self._keep.check_only(list(counts.names))
            writer.close()
        except BaseException:
            writer.drop()
            raise
        return counts

    def opened(self, form: Form, file: BinaryIO) -> Source:
        """The table in a file. InvalidInput where it is not for the model, or its columns are not."""
        source = form.read(file, self.predictor, self._keep)
        names = source.empty.names
        if names:
            self._keep.check_only(names)
        self._keep.check(names, self._answers.names)
        return source

    def _identified(self, kept: Given, scored: Scored, log: Logging | None) -> Given:
        """The rows that are answered, with their ids where they are logged."""
        if log is None:
            return kept
        identified.check(kept.names, self._ids_name)
        return Identified(kept, self._ids_name, log.ids.of_rows(scored.rows))

    def _write(
        self, writer: Writer, chunk: Chunk, scored: Scored, counts: Counts, log: Logging | None
    ) -> None:
        given = chunk.given
        places = scored.rows - chunk.first
        if len(places):
            answered = given if len(places) == len(given) else given.taken(places.tolist())
            if not self._keep.has_all(counts.names):
                counts.names.update(dict.fromkeys(answered.names))
            kept = answered.kept(self._keep)
            self._keep.check(kept.names, self._answers.names)
            writer.write(self._identified(kept, scored, log), scored.labels, scored.scores)
        counts.add(scored)
        for each in scored.refused:
            place = each.row - chunk.first
            [values] = given.taken([place]).records()
            line = None if chunk.line is None else chunk.line(place)
            counts.refusals.add(each.row, line, each.error, values)
        for fault in chunk.faults:
            counts.refusals.add(*fault)

    def _scored(self, chunks: Iterator[Chunk]) -> Iterator[_Answered]:
        """Each chunk with its answers, in their order; a few are scored ahead where there are threads."""
        if self._threads == 1:
            yield from map(self._score, chunks)
            return
        with ThreadPoolExecutor(self._threads, "scoring") as pool:
            ahead: deque[Future[_Answered]] = deque()
            for chunk in chunks:
                ahead.append(pool.submit(self._score, chunk))
                if len(ahead) > self._threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _score(self, chunk: Chunk) -> _Answered:
        if not len(chunk.given):
            return _Answered(chunk, {}, _NOTHING)
        columns = chunk.columns()
        return _Answered(chunk, columns, self._scorer.score(columns, chunk.first))


_NOTHING = Scored(np.empty(0, np.int64), np.empty(0, np.object_), np.empty((0, 0)), [], [])


def file_of(task: Task) -> Path:
    """The model's file: the path may name the file itself, the folder of a version, or that of the model."""
    folder = Path(task.model)
    choices = (folder / str(task.version) / FILE, folder / FILE)
    return next((path for path in choices if path.is_file()), folder if folder.is_file() else choices[0])


def _loaded(task: Task) -> Model:
    path = file_of(task)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ServingError(f"{path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != task.sha256:
        raise ServingError(
            f"{path} is not the file of version {task.version} of {task.name} that the job began with: "
            "put that back, or start the job anew"
        )
    try:
        return load(data, task.runtime)
    except ArtifactError as error:
        raise ServingError(f"{path} cannot be loaded: {error}") from None
