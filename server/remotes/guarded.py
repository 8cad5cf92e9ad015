"""An OCI registry that may ask for credentials: a token that it gives to everybody or to a user, or Basic.

https://distribution.github.io/distribution/spec/auth/token/. The variables REGISTRY_USERNAME and
REGISTRY_PASSWORD name the user.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from unpickled.server.errors import RemoteError
from unpickled.server.remotes import urls
from unpickled.server.remotes.client import Client, Refused
from unpickled.server.remotes.sink import Sink

Result = TypeVar("Result")

_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')
_UNAUTHORIZED = 401


class Guarded:
    """Asks one registry, with credentials once it has said which it takes.

    Args:
        host: The address of the registry, without a path.
        repository: The repository that tokens are for.
        environ: The variables of the environment.
    """

    def __init__(self, host: str, repository: str, environ: Mapping[str, str]) -> None:
        self._host = host
        self._scope = f"repository:{repository}:pull"
        user, password = environ.get("REGISTRY_USERNAME", ""), environ.get("REGISTRY_PASSWORD", "")
        self._basic = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None
        self._header: str | None = None
        self._client = Client(lambda url: self._header if url.startswith(f"{host}/") else None)

    def content(self, url: str, headers: Mapping[str, str] | None = None, longest: int = 4_194_304) -> bytes:
        """The bytes there; RemoteError as in ``Client.content``."""
        return self._asked(lambda: self._client.content(url, headers, longest))

    def download(self, url: str, sink: Sink) -> None:
        """Write the bytes there into a sink; RemoteError as in ``Client.download``."""
        self._asked(lambda: self._client.download(url, sink))

    def _asked(self, ask: Callable[[], Result]) -> Result:
        """The answer; a refusal for want of credentials says which, and the second attempt has them."""
        try:
            return ask()
        except Refused as error:
            if error.status != _UNAUTHORIZED:
                raise
            # A token lasts a few minutes only: the next one replaces it.
            self._header = self._credentials(error)
            return ask()

    def _credentials(self, refusal: Refused) -> str:
        challenge = refusal.headers.get("WWW-Authenticate", "")
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "bearer":
            return f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
        if self._basic is None:
            raise RemoteError(f"{refusal}: set REGISTRY_USERNAME and REGISTRY_PASSWORD")
        return self._basic

    def _token(self, parameters: Mapping[str, str]) -> str:
        realm = parameters.get("realm", "")
        urls.check(realm, plain=urlsplit(self._host).scheme == "http")
        query = {"service": parameters.get("service", ""), "scope": self._scope}
        document = Client(lambda url: self._basic).document(
            f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        )
        names = ("token", "access_token")
        tokens = [document.get(name) for name in names] if isinstance(document, dict) else []
        token = next((each for each in tokens if isinstance(each, str) and each.isascii()), None)
        if token is None or not token.isprintable():
            raise RemoteError(f"{urls.shown(realm)} gives no token")
        return token
