"""Request ids: WSGI middleware that notes the id of a request, and answers with it."""

from collections.abc import Iterable
from typing import Any

from unpickled.server.message import requestid
from unpickled.server.message.environ import REQUEST_ID
from unpickled.server.serve.fastpath import Application, Environ, StartResponse


def identified(application: Application, always: bool) -> Application:
    """The application behind the header ``X-Request-Id``.

    A request has an id where its client sent one, or always where somebody logs it. An error of status 5xx
    makes one by itself (answer.failure) where nobody has. This is a function and no class: the call of an
    instance would cost a request three times as much.
    """

    def ask(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if REQUEST_ID in environ:
            return application(environ, start_response)
        header = requestid.HEADER, requestid.of(environ)
        environ[REQUEST_ID] = header[1]

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, header], *error)

        return application(environ, start)

    def ask_if_sent(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if requestid.VARIABLE in environ:
            return ask(environ, start_response)
        return application(environ, start_response)

    return ask if always else ask_if_sent
