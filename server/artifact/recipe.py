"""The recipe of a model: how it was made, so that it can be made again from newer rows.

``train`` writes what it was asked; for a pipeline of the user's own, the export writes the parameters of the
unfitted estimator. ``unpickled train --like`` and ``unpickled retrain`` repeat it (export/recipe.py).
"""

from typing import Any, Literal

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An unfitted estimator: its class, as ``module:name``, and its parameters.

    Parameters that have their default value are left out. A parameter is a value of JSON; one that is none,
    such as an estimator inside, is a table with one key that says what it is (export/parameters.py).
    """

    estimator: str
    parameters: dict[str, Any] = {}


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a payload log that a retraining has added to the table.

    ``log`` is the folder, as it was given. The rows were predicted from ``since`` until ``until``, both
    ISO 8601 in UTC. Each counted ``weight`` times as much as one of the table.
    """

    log: str
    since: str
    until: str
    weight: float


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a pipeline was made.

    ``by``: "train", which took a scaler and an estimator by name; "pipeline", an estimator of the user's own,
    whose ``step`` is kept; "function", which ``function`` names as ``module:function``: it takes nothing and
    returns the unfitted estimator. ``options`` are those of the command that made it, by their names there,
    with _ for -.

    ``data`` is the bundled data set or the path of the table, as it was given; the path of a file that is
    called as a bundled set is begins with "./". ``target`` are the columns to predict. ``missing_from_step``
    says why a pipeline cannot be made again from its parameters: which of them are code. ``retrained`` says
    what the last ``retrain`` has added, which making it again does not repeat.
    """

    by: Literal["train", "pipeline", "function"]
    data: str | None = None
    target: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    step: Step | None = None
    function: str = ""
    missing_from_step: str = ""
    retrained: Retrained | None = None
