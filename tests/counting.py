"""Processes that count, apart from their tests: a process that is spawned imports this file and no more."""

from array import array
from itertools import cycle
from multiprocessing.connection import Connection

from unpickled.server.observe.counters import Key, Memory

TURNED = ("turned",)
BUSY = ("busy",)
SIZE = 500


def work(memory: Memory, pipe: Connection) -> None:
    """Count one request and one gauge, then wait until told to end."""
    block = memory.claim()
    block.series(TURNED, 1)[0] += 1.0
    block.series(BUSY, 2, gauge=True)[1] += 1.0
    pipe.send(None)
    pipe.recv()


def turn(memory: Memory, pipe: Connection) -> None:
    """Create and forget series without a pause; every number of a series is that of its key."""
    block = memory.claim()
    block.series(TURNED, 1)
    pipe.send(None)
    for number in cycle(range(40)):
        block.series(key_of(number), SIZE)[:] = memoryview(array("d", [number] * SIZE))
        block.forget(key_of((number + 35) % 40))
        if pipe.poll():
            return


def key_of(number: int) -> Key:
    return (str(number) * (number % 7 + 1),)
