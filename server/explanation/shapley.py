"""Shapley values of a game: how much each player adds to what all of them reach, on average over all orders.

A player is a feature, or a few of them; a coalition has the row's values for its players and those of the
typical row for all others. Few players have their values computed over all coalitions. More are sampled:
in a random order of the players, each adds the difference that its joining makes. Each order is also run
backwards, which halves most errors.

Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions" (2017); Castro, Gómez and Tejada,
"Polynomial calculation of the Shapley value based on sampling" (2009).
"""

from collections.abc import Callable
from math import comb, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# (coalitions, players): whether a player is in it.
Coalitions = npt.NDArray[np.bool_]
# The answers to coalitions (coalitions,).
Value = Callable[[Coalitions], Floats]

# A standard error takes two pairs of orders.
_LEAST_PAIRS = 2


class Shares(NamedTuple):
    """The share of each player.

    Attributes:
        values: The Shapley values (players,). They add up to ``whole`` - ``nothing``.
        errors: Their standard errors (players,); 0 where all coalitions were asked for.
        nothing, whole: The answers to the coalition of nobody, and to that of everybody.
        rows: How many coalitions were asked for.
        orders: How many orders of the players were sampled; 0 where all coalitions were asked for.
    """

    values: Floats
    errors: Floats
    nothing: float
    whole: float
    rows: int
    orders: int


def most_players(rows: int) -> int:
    """How many players can be sampled with so many rows."""
    return 1 + rows // (2 * _LEAST_PAIRS)


def shares(value: Value, players: int, rows: int, seed: int) -> Shares:
    """The share of each player, with about so many coalitions at most.

    Args:
        value: Answers coalitions.
        players: How many there are, at most ``most_players(rows)``.
        rows: The most coalitions to ask for, beside those of nobody and of everybody.
        seed: The same seed leads to the same orders.

    Example:
        >>> weights = np.array([2.0, -1.0])
        >>> shares(lambda coalitions: coalitions @ weights, 2, 100, seed=0).values.tolist()
        [2.0, -1.0]
    """
    return _exact(value, players) if 2**players <= rows else _sampled(value, players, rows, seed)


def _exact(value: Value, players: int) -> Shares:
    """Each share by its definition, from all coalitions."""
    numbers = np.arange(2**players)
    coalitions = (numbers[:, None] >> np.arange(players)) % 2 == 1
    answers = value(coalitions)
    sizes = coalitions.sum(axis=1)
    # The share of orders in which just these players come before one other.
    weights = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    values = np.empty(players)
    for player in range(players):
        without = numbers[~coalitions[:, player]]
        values[player] = weights[sizes[without]] @ (answers[without | 1 << player] - answers[without])
    return Shares(values, np.zeros(players), float(answers[0]), float(answers[-1]), len(numbers), 0)


def _sampled(value: Value, players: int, rows: int, seed: int) -> Shares:
    """Each share as the mean over random orders, in pairs of one order and its reverse."""
    pairs = max(_LEAST_PAIRS, rows // (2 * (players - 1)))
    random = np.random.default_rng(seed)
    forwards = random.permuted(np.tile(np.arange(players), (pairs, 1)), axis=1)
    orders = np.stack([forwards, forwards[:, ::-1]], axis=1)  # (pairs, 2, players)
    places = np.argsort(orders, axis=2)
    steps = np.arange(players + 1)[:, None]
    # (pairs, 2, steps, players): the players that have joined at each step, from nobody to everybody.
    joined = places[:, :, None, :] < steps
    between = value(joined[:, :, 1:-1].reshape(-1, players))
    nothing, whole = value(np.array([[False] * players, [True] * players])).tolist()
    answers = np.empty((pairs, 2, players + 1))
    answers[:, :, 0], answers[:, :, -1] = nothing, whole
    answers[:, :, 1:-1] = between.reshape(pairs, 2, players - 1)
    added = np.take_along_axis(np.diff(answers, axis=2), places, axis=2)
    means = added.mean(axis=1)  # (pairs, players)
    errors = means.std(axis=0, ddof=1) / sqrt(pairs)
    return Shares(means.mean(axis=0), errors, nothing, whole, len(between) + 2, 2 * pairs)
