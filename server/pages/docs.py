"""The OpenAPI document for people: Swagger UI, all of whose files this server has."""

from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from unpickled.server.errors import UnknownPath
from unpickled.server.message.answer import Answer, Environ
from unpickled.server.pages.files import File, is_part
from unpickled.server.pages.page import Page
from unpickled.server.quote import quoted

_SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js")


def pages() -> list[Page]:
    """GET /docs, and the files of that page."""
    folder = files("unpickled.server.pages") / "assets" / "swagger"
    page = File(folder / "docs.html")
    parts = {file.name: File(file) for file in folder.iterdir() if is_part(file)}
    parts |= {name: File(_swagger() / name) for name in _SWAGGER}

    def part(environ: Environ, file: str) -> Answer:
        if file not in parts:
            raise UnknownPath(f"there is no file {quoted(file)} under /docs: GET / lists every route")
        return parts[file](environ)

    return [
        Page("GET", "/docs", "The OpenAPI document as a page for people", page, text=("text/html",)),
        Page("GET", "/docs/<file>", "A file of the page at /docs", part),
    ]


def _swagger() -> Path:
    """The folder of Swagger UI's files, found without importing the package that has them."""
    return Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui"))) / "dist"
