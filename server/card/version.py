"""A version whose report is drawn."""

from typing import NamedTuple

from unpickled.server.artifact.manifest import Manifest


class Version(NamedTuple):
    """A version of a model, which has a file.

    name, number: where it stands: models/<name>/<number>.
    manifest: that of its file.
    size: the length of the file in bytes.
    sha256: its digest, in hex.
    """

    name: str
    number: int
    manifest: Manifest
    size: int
    sha256: str

    @property
    def title(self) -> str:
        """Its name and its number, for people."""
        return f"{self.name}, version {self.number}"
