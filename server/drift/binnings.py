"""The cells of the versions in memory."""

from weakref import WeakKeyDictionary

from unpickled.server.drift.binning import Binning
from unpickled.server.model.session import Model


class Binnings:
    """Makes the cells of a version once; they end with it. Any thread may ask."""

    def __init__(self) -> None:
        self._binnings: WeakKeyDictionary[Model, Binning] = WeakKeyDictionary()

    def of(self, model: Model) -> Binning:
        """The cells of a model."""
        binning = self._binnings.get(model)
        if binning is None:
            binning = self._binnings[model] = Binning(model.manifest)
        return binning
