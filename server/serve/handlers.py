"""The handlers of one version, which routes of several paths share."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from unpickled.server.inference.prediction import Predict
from unpickled.server.inference.work import Cost
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.policy import Policy
from unpickled.server.protocols.protocol import Build, Subject


class Handler(NamedTuple):
    """The function that answers the requests of one protocol for one version, and their cost."""

    predict: Predict
    cost: Cost


class Handlers:
    """One version under one policy, and its handlers, each built when it is first asked for."""

    def __init__(self, served: Served, policy: Policy, subject: Callable[[], Subject]) -> None:
        self.served = served
        self.policy = policy
        self._subject = subject
        self._handlers: dict[Build, Handler] = {}

    @cached_property
    def subject(self) -> Subject:
        """Reader and predictor."""
        return self._subject()

    def handler(self, build: Build) -> Handler:
        """The handler that a builder of a protocol makes; protocols share builders."""
        handler = self._handlers.get(build)
        if handler is None:
            cost = Cost(self.served.model.cost)
            handler = self._handlers[build] = Handler(build(self.subject), cost)
        return handler
