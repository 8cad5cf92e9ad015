"""Documents in the forms of other servers: recognizing the form, and reading tables as pandas writes them."""

from collections.abc import Collection, Mapping, Sequence

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Row
from unpickled.server.protocols.rows import Reader
from unpickled.server.quote import quoted

_SPLIT = frozenset({"columns", "index", "data"})


def chosen(members: Members, forms: Mapping[str, Collection[str]], example: str) -> str:
    """The form of a document: the one member whose name is in ``forms``.

    InvalidInput unless the document has exactly one form, and beside it only the members listed for it.
    """
    refuse_repeated(members, "the body")
    present = [name for name in members if name in forms]
    if len(present) != 1:
        raise InvalidInput(
            f"{', '.join(map(repr, present)) or 'nothing that is known'} stands in the body: send {example}"
        )
    [form] = present
    for name in members:
        if name != form and name not in forms[form]:
            raise InvalidInput(f"{quoted(name)} stands beside {form!r}: send {example}")
    return form


def is_form(members: Members, forms: Collection[str], predictor: Predictor) -> bool:
    """Whether a document has one of ``forms``, and not just a feature of that name."""
    present = [name for name in forms if name in members]
    features = predictor.signature.names
    return any(name not in features or isinstance(members[name], list | Members) for name in present)


def split(reader: Reader, frame: object, place: str) -> Sequence[Row]:
    """The rows of a pandas table in its "split" form; ``place`` is its place in the body, for errors."""
    if not isinstance(frame, Members) or "data" not in frame or not set(frame) <= _SPLIT:
        raise InvalidInput(f'{place} is not an object of "columns", "data" and, if need be, "index"')
    refuse_repeated(frame, place)
    if "columns" not in frame:
        return reader.listed(frame["data"], "'data'")
    return reader.table(frame["columns"], frame["data"])


def refuse_repeated(members: Members, place: str) -> None:
    """InvalidInput if a member is given twice."""
    for name in members.repeated:
        raise InvalidInput(f"{quoted(name)} of {place} is given twice")
