"""The record of a protocol: each protocol is a module that ends in one, and an entry in registry.py."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from unpickled.server.config import Config
from unpickled.server.inference.prediction import Predict
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols.bodies import Bodies
from unpickled.server.protocols.rows import Reader


class Subject(NamedTuple):
    """The version of a model that a protocol answers for."""

    model: str
    version: int
    predictor: Predictor
    reader: Reader


class Paths(NamedTuple):
    """The paths of one protocol, as Flask's patterns with "<name>", "<version>" and "<label>".

    default: path of the default model.
    model: path of any model.
    version: path of a version of a model.
    label: path of the version that a label stands for.
    """

    default: str | None = None
    model: str | None = None
    version: str | None = None
    label: str | None = None

    @property
    def rules(self) -> list[str]:
        """The patterns to register: that of a version stands for labels too if both have the same place."""
        shared = self.label is not None and self.label.replace("<label>", "<version>") == self.version
        return [rule for rule in (*self[:3], None if shared else self.label) if rule]


Build = Callable[[Subject], Predict]


class Protocol(NamedTuple):
    """Everything that the server knows about a protocol.

    name: a word that no other protocol has.
    summary: a few words for lists of routes: the action that a client asks for.
    paths: returns its paths under these settings; None if they switch the protocol off.
    build: returns the function that answers its requests for one version.
    describe: describes the bodies of its requests and answers for OpenAPI.
    by_type: by media type, like ``build``, for requests that ``build`` does not read.
    lines: like ``build``, for each line of a stream of JSON lines; None if there are no streams.
    """

    name: str
    summary: str
    paths: Callable[[Config], Paths | None]
    build: Build
    describe: Callable[[Schemas], Bodies]
    by_type: Mapping[str, Build] = {}
    lines: Build | None = None

    @property
    def builds(self) -> list[Build]:
        """Everything that has to be built for one version."""
        return [self.build, *self.by_type.values(), *([self.lines] if self.lines else [])]
