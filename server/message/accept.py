"""The media type that a client prefers: RFC 9110, section 12.5.1."""

from collections.abc import Sequence

from unpickled.server.message.answer import Environ


def preferred(environ: Environ, offers: Sequence[str]) -> str:
    """The offer that the Accept header prefers; the first one where it prefers none."""
    header = environ.get("HTTP_ACCEPT")
    if header is None or header == "*/*":
        return offers[0]
    ranges = qualities(header)

    def quality(offer: str) -> float:
        kinds = (offer, offer.partition("/")[0] + "/*", "*/*")
        return next((ranges[kind] for kind in kinds if kind in ranges), 0.0)

    return max(offers, key=quality)


def qualities(accept: str) -> dict[str, float]:
    """Media range -> its quality, 0 to 1; a quality that is no number counts as 0."""
    return dict(map(_quality, accept.lower().split(",")))


def _quality(text: str) -> tuple[str, float]:
    """The type and the quality in "text/*;q=0.5"."""
    kind, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            return kind, _number(parameter[2:])
    return kind, 1.0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    # NaN differs from itself.
    return min(max(value, 0.0), 1.0) if value == value else 0.0
