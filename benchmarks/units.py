"""Figures as people read them: two digits below 100, three from there on, in the unit that fits."""

from collections.abc import Sequence


def number(value: float) -> str:
    """56,100; 1,410; 119; 12 for 12.4; 4.2; 0.65."""
    rounded = float(f"{value:.3g}")
    if rounded >= 10 or rounded == round(rounded):
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}".removesuffix(".0") if rounded >= 1 else f"{rounded:.2g}"


def scaled(value: float, names: Sequence[str], step: float = 1000) -> str:
    """A value in the largest of some units in which it is at least 1."""
    for name in names[:-1]:
        if float(f"{value:.3g}") < step:
            return f"{number(value)} {name}"
        value /= step
    return f"{number(value)} {names[-1]}"


def duration(microseconds: float) -> str:
    """79 us; 21 ms; 1.1 s."""
    return scaled(microseconds, ("us", "ms", "s"))


def seconds(value: float) -> str:
    return duration(value * 1e6)


def memory(mebibytes: float) -> str:
    """154 MiB; 23.5 GiB."""
    return f"{number(mebibytes)} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def size(count: float) -> str:
    """A number of bytes: 980 B; 1.3 kB; 4.2 MB."""
    return scaled(count, ("B", "kB", "MB", "GB"))


def times(ratio: float) -> str:
    """40x; 0.65x."""
    return f"{number(ratio)}x"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"
