"""Whether a server serves the models that it has to, as the setting ``ready`` says."""

from collections.abc import Iterable, Mapping
from weakref import ref

from unpickled.server.config import Config
from unpickled.server.lifecycle.demand import Demand
from unpickled.server.lifecycle.deployment import Deployment, Deployments


class Readiness:
    """Judges deployments. With "all", a model that appeared after the start of the server need not be served:
    a broken one that is published to many servers would take all of them out of service.

    Args:
        config: ``ready`` and ``default_model``.
        expected: The models that were there at the start of the server.
        demand: Knows the models that the first request loads; they count as served.
    """

    def __init__(self, config: Config, expected: frozenset[str], demand: Demand) -> None:
        self._config = config
        self._expected = expected
        self._demand = demand
        # The last judgement: a worker asks four times a second, and a thousand models take a while.
        self._judged: tuple[ref[Deployments], str | None, bool] | None = None

    def holds(self, deployments: Deployments, default: str | None) -> bool:
        """Whether what has to be served is.

        Args:
            deployments: All of them; they do not change.
            default: The name of the default model.
        """
        judged = self._judged
        # Where requests load models, those that are not in memory are in no deployment.
        if judged is None or judged[0]() is not deployments or judged[1] != default or self._demand.on:
            judged = self._judged = ref(deployments), default, self._judge(deployments, default)
        return judged[2]

    def served(self, deployments: Mapping[str, Deployment]) -> list[str]:
        """Names of the models that serve a version, or are loaded by the first request for them."""
        return self._demand.among(name for name, deployment in deployments.items() if deployment.versions)

    def _judge(self, deployments: Mapping[str, Deployment], default: str | None) -> bool:
        served = set(self.served(deployments))
        if self._config.ready == "default":
            return default in served
        return bool(served) and (
            self._config.ready == "any" or served.issuperset(self._required(deployments, default))
        )

    def _required(self, deployments: Iterable[str], default: str | None) -> set[str]:
        """The models without which not all are served.

        A model that a request has loaded is not among them: a request for a broken one would take the server
        out of service. A server that restarts without the one that ``default_model`` names ends.
        """
        expected = {default} if self._demand.on else self._expected
        return {name for name in deployments if name in expected or name == self._config.default_model}
