"""What a protocol is: one PROTOCOL record at the end of its module, and an entry in registry.py."""

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
    """Flask's patterns of the paths of one protocol, with "<name>", "<version>" and "<label>" in them.

    default: predicts with the default model.
    model: predicts with a model.
    version: predicts with a version of it.
    label: predicts with the version that a label stands for.
    """

    default: str | None = None
    model: str | None = None
    version: str | None = None
    label: str | None = None

    @property
    def rules(self) -> list[str]:
        """Each of them, but a label's where versions and labels stand in the same place."""
        same = self.label is not None and self.label.replace("<label>", "<version>") == self.version
        return [rule for rule in (*self[:3], None if same else self.label) if rule]


Build = Callable[[Subject], Predict]


class Protocol(NamedTuple):
    """Everything that the server knows of a protocol.

    name: one word, of which there is no other.
    summary: what a client does with it, in a few words, for lists of routes.
    paths: its paths under these settings, None where they switch it off.
    build: what answers its requests for one version.
    describe: the bodies of its requests and answers, for OpenAPI.
    others: what answers requests of other media types than ``build`` reads itself.
    lines: what answers each line of a stream of JSON lines; None where there are no streams.
    """

    name: str
    summary: str
    paths: Callable[[Config], Paths | None]
    build: Build
    describe: Callable[[Schemas], Bodies]
    others: Mapping[str, Build] = {}
    lines: Build | None = None

    @property
    def builds(self) -> list[Build]:
        """Everything that is built for one version."""
        return [self.build, *self.others.values(), *([self.lines] if self.lines else [])]
