"""The parts of sections of a report: headings, paragraphs, pictures, legends and figures as text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from unpickled.server.artifact.card import Measured
from unpickled.server.card.plot import figure
from unpickled.server.quote import printable
from unpickled.server.report.page import sentence
from unpickled.server.report.table import short_name

Write = Callable[[float], str]


def section(title: str, *parts: str, follows: bool = False) -> str:
    """A section with what there is of its parts, HTML; nothing where there is nothing.

    On paper it begins a page, unless it ``follows`` the one before.
    """
    content = "\n".join(filter(None, parts))
    kind = ' class="follows"' if follows else ""
    return f"<section{kind}>\n<h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def below(title: str, *parts: str) -> str:
    """Parts under a heading inside a section; nothing where there is nothing."""
    content = "\n".join(filter(None, parts))
    return f"<h3>{escape(title)}</h3>\n{content}" if content else ""


def paragraph(text: str, kind: str = "") -> str:
    """Sentences as a paragraph, of a class such as "note"."""
    mark = f' class="{kind}"' if kind else ""
    return f"<p{mark}>{sentence(printable(text))}</p>" if text else ""


def pictures(figures: Iterable[str]) -> str:
    """Pictures side by side, as many as there is room for."""
    content = "\n".join(filter(None, figures))
    return f'<div class="pictures">\n{content}\n</div>' if content else ""


def picture(title: str, svg: str, caption: str = "") -> str:
    """A picture with its title above it and a caption below, which is HTML."""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><h4>{escape(printable(title))}</h4>{svg}{below}</figure>"


def figures(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], color: str = "") -> str:
    """A table of text beside pictures, narrow enough for a phone; a class may have its color."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    chip = f'<span class="chip {color}"></span>' if color else ""
    table = f'<div class="scroll"><table><tr>{head}</tr>{lines}</table></div>'
    return f"<figure><h4>{chip}{short_name(title)}</h4>{table}</figure>"


def legend(names: Sequence[str], colors: Mapping[int, str]) -> str:
    """The colors of classes, by their places among all of them."""
    items = "".join(
        f"<li>{_sample(kind)}{short_name(names[place], 30)}</li>" for place, kind in colors.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _sample(kind: str) -> str:
    return (
        '<svg class="sample" width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">'
        f'<polyline class="line {kind}" points="1,5 25,5"/>'
        f'<circle class="dot {kind}" cx="13" cy="5" r="3"/></svg>'
    )


def interval(measured: Measured, write: Write) -> str:
    """A figure, and behind it the ends of its interval."""
    if measured.lowest is None or measured.highest is None:
        return write(measured.value)
    return f"{write(measured.value)} ({write(measured.lowest)} to {write(measured.highest)})"


def or_dash(measured: Measured | None, write: Write) -> str:
    """The same, or a dash where it was not measured."""
    return "-" if measured is None else interval(measured, write)


def percent(share: float) -> str:
    """A share in percent, with one decimal.

    Example:
        >>> percent(0.93333)
        '93.3%'
    """
    return f"{share:.1%}"


def digits(number: float) -> str:
    """A number with three digits, also where they are zeros, or all digits of its whole part.

    Example:
        >>> digits(0.12345), digits(36.0), digits(51234.5), digits(1e-7)
        ('0.123', '36.0', '51,234', '1e-7')
    """
    if 1e-4 <= abs(number) < 999.5:
        return f"{number:#.3g}".removesuffix(".")
    return figure(number, 3)


def three(number: float) -> str:
    """A number with three decimals."""
    return f"{number:.3f}"
