"""The page for people: one HTML file and the modules, styles and icon that it asks for.

Nothing in them is made from a model: the page asks ``GET /models`` as any client does, and writes what it is
told as text.
"""

from importlib.resources import files

from unpickled.server.errors import UnknownPath
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.accept import qualities
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page
from unpickled.server.pages.catalog import overview
from unpickled.server.pages.files import File, served

_VARY = ("Vary", "Accept")


def pages(repository: Repository) -> list[Page]:
    """GET / as HTML for browsers and as JSON for everybody else, and GET /assets/<file>."""
    assets = files("unpickled.server.pages") / "assets"
    home = File(assets / "home.html")
    parts = {file.name: File(file) for file in assets.iterdir() if served(file)}

    def index(environ: Environ) -> Answer:
        html = prefers_html(environ.get("HTTP_ACCEPT", ""))
        status, headers, content = home(environ) if html else document(overview(repository))
        return status, (*headers, _VARY), content

    def asset(environ: Environ, file: str) -> Answer:
        if file not in parts:
            raise UnknownPath(f"the page has no file {file[:60]!r}: GET / lists what there is")
        return parts[file](environ)

    return [Page("GET", "/", index), Page("GET", "/assets/<file>", asset)]


def prefers_html(accept: str) -> bool:
    """Whether HTML is named, and wanted more than JSON (RFC 9110, 12.5.1); ``*/*`` is what tools send."""
    weights = qualities(accept)
    return weights.get("text/html", 0) > weights.get("application/json", 0)
