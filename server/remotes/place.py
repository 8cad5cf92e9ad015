"""The place of a model below a remote's root: its name, its number and its file, as far as a path tells them.

models/iris                 all versions of iris
models/iris/3               version 3
models/iris/3/model.onnx    its file
models/iris.onnx            a file without a number
"""

from collections.abc import Sequence
from typing import NamedTuple

from unpickled.server.artifact.manifest import FILE, NAME
from unpickled.server.lifecycle.serving import VERSION

_SUFFIX = ".onnx"


class Place(NamedTuple):
    """The folders above, and what the end of the path names; the name is empty where it is not told."""

    folder: tuple[str, ...]
    name: str
    number: int | None
    file: str | None


def of(segments: Sequence[str]) -> Place:
    """The place that a path names, by its segments.

    Example:
        >>> of(["models", "iris", "3", "model.onnx"])
        Place(folder=('models', 'iris', '3'), name='iris', number=3, file='model.onnx')
    """
    folder, file = list(segments), None
    if folder and folder[-1].endswith(_SUFFIX):
        file = folder.pop()
    above, number = list(folder), None
    if above and VERSION.fullmatch(above[-1]):
        number = int(above.pop())
    name = above[-1] if above else ""
    if file is not None and file != FILE:
        name = file.removesuffix(_SUFFIX)
    return Place(tuple(folder), name if NAME.fullmatch(name) else "", number, file)
