"""Documents of other servers: which of a protocol's forms one is of, and tables as pandas writes them."""

from collections.abc import Collection, Mapping, Sequence

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Row
from unpickled.server.protocols.rows import Reader
from unpickled.server.quote import quoted

_SPLIT = frozenset({"columns", "index", "data"})


def chosen(members: Members, forms: Mapping[str, Collection[str]], example: str) -> str:
    """The one of ``forms`` that a document is of; what is given for it may stand beside. InvalidInput."""
    refuse_repeated(members, "the body")
    found = [name for name in members if name in forms]
    if len(found) != 1:
        raise InvalidInput(
            f"{', '.join(map(repr, found)) or 'nothing that is known'} stands in the body: send {example}"
        )
    for name in members:
        if name != found[0] and name not in forms[found[0]]:
            raise InvalidInput(f"{quoted(name)} stands beside {found[0]!r}: send {example}")
    return found[0]


def is_form(members: Members, forms: Collection[str], predictor: Predictor) -> bool:
    """Whether a document has a member named as one of ``forms`` that is no feature's value."""
    named = [name for name in forms if name in members]
    features = predictor.signature.names
    return any(name not in features or isinstance(members[name], list | Members) for name in named)


def split(reader: Reader, frame: object, what: str) -> Sequence[Row]:
    """The rows of a pandas table in its "split" form; ``what`` names it in sentences."""
    if not isinstance(frame, Members) or "data" not in frame or not set(frame) <= _SPLIT:
        raise InvalidInput(f'{what} is not an object of "columns", "data" and, if need be, "index"')
    refuse_repeated(frame, what)
    if "columns" not in frame:
        return reader.listed(frame["data"], "'data'")
    return reader.named(frame["columns"], frame["data"])


def refuse_repeated(members: Members, what: str) -> None:
    """InvalidInput where a name is given twice."""
    for name in members.repeated:
        raise InvalidInput(f"{quoted(name)} of {what} is given twice")
