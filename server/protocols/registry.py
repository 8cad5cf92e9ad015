"""The protocols that the server speaks."""

from unpickled.server.config import Config
from unpickled.server.protocols import azure, native, sagemaker, tfserving, vertex
from unpickled.server.protocols.oip import infer
from unpickled.server.protocols.protocol import Paths, Protocol

# If the settings give two of them the same path, the last one answers it.
PROTOCOLS: tuple[Protocol, ...] = (
    native.PROTOCOL,
    infer.PROTOCOL,
    tfserving.PROTOCOL,
    sagemaker.PROTOCOL,
    azure.PROTOCOL,
    vertex.PROTOCOL,
)


def routes(config: Config) -> list[tuple[Protocol, Paths]]:
    """The protocols that these settings switch on, with their paths."""
    pairs = [(protocol, protocol.paths(config)) for protocol in PROTOCOLS]
    return [(protocol, paths) for protocol, paths in pairs if paths is not None]
