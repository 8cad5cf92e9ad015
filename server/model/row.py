"""One row at a time, through buffers bound to the session once per thread: 2 us less than a batch run."""

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Input
from unpickled.server.model.feeds import DTYPES, PACKING
from unpickled.server.model.outputs import Buffers

# One row of numbers in feature order -> its label and its scores.
RunRow = Callable[[Sequence[float | None]], tuple[Any, tuple[float, ...]]]
_Arrays = Mapping[str, npt.NDArray[Any]]
# Arrays for the graph's inputs and outputs -> the arguments of a run that reads and writes these arrays.
Bind = Callable[[_Arrays, _Arrays], tuple[Any, ...]]


def row_runner(
    tensor: Input,
    make: Callable[[], Buffers],
    bind: Bind,
    run: Callable[..., None],
    fail: Callable[[Exception], NoReturn],
) -> RunRow:
    """Return a function that runs one row; any thread may call it.

    Args:
        tensor: The graph's only input, of numbers.
        make: Makes memory for the answer to one row.
        bind: Binds memory to the session.
        run: Runs the session with what ``bind`` returns.
        fail: Raises the error of a run that has failed.
    """
    local, scores = _Bound(tensor, make, bind), make().scores
    pack = struct.Struct(f"{len(tensor.features)}{PACKING[tensor.dtype]}").pack_into
    unpack = struct.Struct(f"{scores.size}{scores.dtype.char}").unpack_from

    def run_row(values: Sequence[float | None]) -> tuple[Any, tuple[float, ...]]:
        memory, label, scores, arguments = local.bound
        try:
            pack(memory, 0, *values)
        except struct.error:  # a value is missing: looking for None first would cost every row 0.4 us
            pack(memory, 0, *[np.nan if value is None else value for value in values])
        try:
            run(*arguments)
        except Exception as error:  # as in Model.run
            fail(error)
        return label.item(), unpack(scores)

    return run_row


class _Bound(threading.local):
    """Each thread's own buffers, bound to the session once."""

    def __init__(self, tensor: Input, make: Callable[[], Buffers], bind: Bind) -> None:
        features, answer = np.zeros((1, len(tensor.features)), DTYPES[tensor.dtype]), make()
        arguments = bind({tensor.name: features}, answer.bound)
        self.bound = (features.data, answer.label, answer.scores.data, arguments)
