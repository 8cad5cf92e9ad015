"""The kinds of remotes that models are fetched from."""

from collections.abc import Mapping

from unpickled.server.errors import RemoteError
from unpickled.server.quote import hint, quoted
from unpickled.server.remotes import mlflow, objects, oci, urls, web
from unpickled.server.remotes.remote import Remote, Source

REMOTES: tuple[Remote, ...] = (objects.REMOTE, web.REMOTE, mlflow.REMOTE, oci.REMOTE)


def open_source(address: str, environ: Mapping[str, str], version: int | None = None) -> Source:
    """The source at an address; nothing is asked yet.

    Raises:
        RemoteError: The address is wrong, or of an unknown kind.
    """
    scheme = address.partition("://")[0] if "://" in address else ""
    kinds = {scheme: remote for remote in REMOTES for scheme in remote.schemes}
    if scheme not in kinds:
        forms = ", ".join(remote.form for remote in REMOTES)
        raise RemoteError(
            f"{quoted(urls.shown(address))} is no address of a model: {hint(scheme, kinds)}"
            f"Addresses look like {forms}"
        )
    try:
        return kinds[scheme].open(address, environ, version)
    except ValueError as error:
        raise RemoteError(f"{quoted(urls.shown(address))} is no address: {error}") from None
