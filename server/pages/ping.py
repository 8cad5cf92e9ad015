"""GET /ping, Amazon SageMaker's health check.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from msgspec import Struct

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.pages.page import Page


class Ping(Struct, frozen=True, kw_only=True):
    """Whether the server is ready."""

    ready: bool


def pages(repository: Repository) -> list[Page]:
    """GET /ping."""

    def ping(_: Environ) -> Answer:
        return document(Ping(ready=repository.ready), 200 if repository.ready else 503)

    return [
        Page("GET", "/ping", "The same as /readyz, in short (SageMaker)", ping, Ping, statuses=(200, 503))
    ]
