"""Which media type a client wants: RFC 9110, section 12.5.1."""

from collections.abc import Sequence

from unpickled.server.message.answer import Environ


def preferred(environ: Environ, offers: Sequence[str]) -> str:
    """The one of ``offers`` that Accept prefers, the first where it prefers none."""
    wanted = environ.get("HTTP_ACCEPT")
    if wanted is None or wanted == "*/*":
        return offers[0]
    found = qualities(wanted)

    def quality(offer: str) -> float:
        kinds = (offer, offer.partition("/")[0] + "/*", "*/*")
        return next((found[kind] for kind in kinds if kind in found), 0.0)

    return max(offers, key=quality)


def qualities(accept: str) -> dict[str, float]:
    """Media range -> its quality, 0 where that is no number."""
    return dict(map(_quality, accept.lower().split(",")))


def _quality(text: str) -> tuple[str, float]:
    """ "text/*;q=0.5" as its type and its quality."""
    kind, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return kind, float(parameter[2:])
            except ValueError:
                return kind, 0.0
    return kind, 1.0
