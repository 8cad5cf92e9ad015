"""The page for people: one HTML file, and its modules, styles and icon.

None of these files depends on a model: the page requests ``GET /models`` as any client does, and writes the
answers as text.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from unpickled.server.errors import UnknownPath
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.accept import qualities
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.pages.catalog import Overview, overview
from unpickled.server.pages.files import File, is_part
from unpickled.server.pages.page import Page
from unpickled.server.quote import quoted

_VARY = ("Vary", "Accept")


def pages(
    repository: Repository, predictions: Mapping[str, str], every: Callable[[], Sequence[Page]]
) -> list[Page]:
    """GET / as HTML for browsers and as JSON for all other clients, and GET /assets/<file>.

    The JSON lists all routes: ``predictions`` has the summaries of those that predict, ``every`` returns all
    pages.
    """
    folder = files("unpickled.server.pages") / "assets"
    home = File(folder / "home.html")
    assets = {file.name: File(file) for file in folder.iterdir() if is_part(file)}

    def index(environ: Environ) -> Answer:
        html = prefers_html(environ.get("HTTP_ACCEPT", ""))
        status, headers, content = home(environ) if html else document(overview(repository, summaries()))
        return status, (*headers, _VARY), content

    def asset(environ: Environ, file: str) -> Answer:
        if file not in assets:
            raise UnknownPath(f"the page has no file {quoted(file)}: GET / lists every route")
        return assets[file](environ)

    def summaries() -> dict[str, str]:
        lines = dict(predictions)
        for page in every():
            lines.setdefault(f"{page.method} {page.rule}", page.summary)
        return lines

    return [
        Page(
            "GET",
            "/",
            "This list; a page for people where a browser asks",
            index,
            Overview,
            text=("text/html",),
        ),
        Page("GET", "/assets/<file>", "A file of the page for people", asset),
    ]


def prefers_html(accept: str) -> bool:
    """Whether Accept names HTML and prefers it to JSON (RFC 9110, 12.5.1). Tools send ``*/*``."""
    weights = qualities(accept)
    return weights.get("text/html", 0) > weights.get("application/json", 0)
