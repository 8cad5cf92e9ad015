"""Markdown: tables, and generated blocks in files that people write."""

import re
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.reporting.tables import Cell, Table


def table(source: Table) -> str:
    """A Markdown table."""
    rule = ["---" if column < source.words else "---:" for column in range(len(source.head))]
    lines = [map(escaped, source.head), rule, *(map(_cell, row) for row in source.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return f"**{text}**" if (cell.strong or cell.bad) and text else text


def escaped(text: str) -> str:
    """A text in one line, in which Markdown sees no mark-up."""
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", " ".join(text.split()))


def begin(block: str) -> str:
    """The line before a generated block."""
    return f"<!-- {block}:begin -->"


def end(block: str) -> str:
    """The line after a generated block."""
    return f"<!-- {block}:end -->"


def filled(path: Path, block: str, content: str) -> str:
    """The text of a file with new content between the markers of a block.

    Args:
        path: The Markdown file.
        block: The name in the markers.
        content: The new lines between them.

    Returns:
        The whole text; outside the markers it is that of the file.

    Raises:
        BenchmarkError: The file cannot be read, or has no markers.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}") from None
    before, first, rest = text.partition(begin(block))
    _, last, after = rest.partition(end(block))
    if not first or not last:
        raise BenchmarkError(
            f"{path} has no place for the {block}: add the lines {begin(block)} and {end(block)}"
        )
    return f"{before}{first}\n{content}\n{last}{after}"


def holder(root: Path, block: str) -> Path:
    """The Markdown file with the markers of a block: README.md, or a page below docs/.

    Raises:
        BenchmarkError: No file has the markers, or several have them.
    """
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    holders = [page for page in pages if page.is_file() and begin(block) in page.read_text("utf-8")]
    if len(holders) != 1:
        places = ", ".join(str(page.relative_to(root)) for page in holders) or "no Markdown file"
        raise BenchmarkError(
            f"{begin(block)} is in {places}: one of README.md and docs/**/*.md has to hold it"
        )
    return holders[0]
