"""A process that scores parts for another one, which writes the task and then parts to its standard input.

Each is a line of JSON, and so is each message that the process writes to its standard output. It ends at once
when its input does: the process at the other end has no more parts, or is gone.
"""

import os
import queue
import signal
import sys
import threading
from typing import BinaryIO

import msgspec

from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.batch.worker import Worker
from unpickled.server.errors import UnpickledError


class Message(msgspec.Struct, omit_defaults=True):
    """A line that the process writes: more rows, a part that is done, or an error that ends the job."""

    rows: int = 0
    result: Result | None = None
    error: str = ""

    @property
    def is_last(self) -> bool:
        """Whether nothing more is said about the part."""
        return self.result is not None or bool(self.error)


class _Hand:
    """Reads the input in a thread of its own, so that its end is noticed in the middle of a part."""

    def __init__(self, stream: BinaryIO, output: int) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._output = output
        threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def run(self, threads: int) -> None:
        """Score part after part, until the process ends."""
        task = msgspec.json.decode(self._lines.get(), type=Task)
        try:
            worker = Worker(task, threads)
        except UnpickledError as error:
            self._lines.get()
            self._say(Message(error=str(error)))
            return
        while True:
            part = msgspec.json.decode(self._lines.get(), type=Part)
            try:
                self._say(Message(result=worker.score(part, self._told)))
            except UnpickledError as error:
                self._say(Message(error=str(error)))

    def _told(self, rows: int) -> None:
        self._say(Message(rows=rows))

    def _say(self, message: Message) -> None:
        os.write(self._output, msgspec.json.encode(message) + b"\n")

    def _listen(self, stream: BinaryIO) -> None:
        for line in stream:
            self._lines.put(line)
        os._exit(0)


def main() -> None:
    """Score parts, with the threads that the command line names."""
    # The process at the other end decides about Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.dup(1)
    # Whatever a library prints goes to the standard error.
    os.dup2(2, 1)
    _Hand(sys.stdin.buffer, output).run(int(sys.argv[1]))


if __name__ == "__main__":
    main()
