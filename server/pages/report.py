"""The report about a version, as a page for people."""

from msgspec.structs import replace

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.card import page as card
from unpickled.server.card.version import Version
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import query
from unpickled.server.message.answer import Answer, Environ
from unpickled.server.pages.page import Page, Parameter

# The document has its own styles and pictures, and no script: nothing of a model file can become one.
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


def pages(repository: Repository) -> list[Page]:
    """GET /models/<name>/report, and that of a version."""

    def report(environ: Environ, name: str, version: str | None = None) -> Answer:
        served, against = repository.find(name, version), query.number(environ, "against")
        other = None if against is None else _other(repository, served, against)
        return "200 OK", _HEADERS, card.html(_version(served), against, other).encode(errors="replace")

    against = Parameter("against", "the number of a version to set beside it")
    rules = {
        "/models/<name>/report": "A page about a version: its data, quality, importances, parity and origin",
        "/models/<name>/versions/<version>/report": "The same of any version that is served",
    }
    return [
        Page("GET", rule, summary, report, text=("text/html",), errors=(400,), query=(against,))
        for rule, summary in rules.items()
    ]


def _version(served: Served) -> Version:
    # The paths and the code that a recipe names are for those who have the file.
    manifest = replace(served.model.manifest, recipe=None)
    return Version(served.name, served.version, manifest, served.size, served.sha256)


def _other(repository: Repository, served: Served, against: int) -> Manifest | None:
    """The manifest of a version that is set beside another one; None if that one has the comparison.

    Raises UnknownModel where no such version is served.
    """
    if any(each.version == against for each in served.model.manifest.comparisons):
        return None
    return repository.find(served.name, str(against)).model.manifest
