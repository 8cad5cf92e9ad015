"""The parity of a version, in sentences for people: what was compared before the file was written."""

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.card.parts import below, digits, paragraph
from unpickled.server.card.plot import figure
from unpickled.server.model.kinds import outputs_of
from unpickled.server.quote import counted
from unpickled.server.report.table import short_name, table

# Kinds of compared rows in words; any other kind is shown as the manifest calls it.
_KINDS = {
    "training": "the rows that the export was given",
    "held_out": "the held-out rows",
    "extremes": "generated at the ends of the ranges",
    "spread": "generated all over the ranges",
    "single": "answered one at a time",
    "unknown_category": "generated with unknown categories",
    "near_threshold": "generated beside the thresholds of trees",
    "ties": "generated exactly on thresholds",
    "missing": "generated with missing values",
    "known_number": "generated beside the numbers that the pipeline knows",
}
_RELATIVE = {
    "scores": ", relative to max(1, |score|)",
    "prediction": ", relative to max(1, |prediction|), or to less where predictions vary less",
}


def parity(manifest: Manifest) -> str:
    """How the graph was compared with the pipeline, and what follows from it."""
    found = manifest.parity
    kind = outputs_of(manifest).members[-1].name
    rows = sum(found.rows.values())
    number = "number" if kind == "prediction" else "probability" if kind == "probabilities" else "score"
    difference = (
        f"the largest difference of any {number} was {digits(found.max_difference)}, and up to "
        f"{figure(found.tolerance)} was allowed{_RELATIVE.get(kind, '')}"
    )
    return "\n".join(
        [
            paragraph(
                f"before this file was written, the graph in it and the fitted pipeline answered the same "
                f"{counted(rows, 'row')}, and the answers agreed: {difference}"
            ),
            paragraph(_ties(manifest)) if kind != "prediction" else "",
            paragraph(
                "so what a server answers is what the pipeline would have: the figures of this report hold "
                f"for the file. {counted(len(manifest.golden.rows), 'made-up row')} with the pipeline's own "
                "answers travel in it, and are checked again at each load"
            ),
            below("Compared rows", _rows(manifest)),
        ]
    )


def _ties(manifest: Manifest) -> str:
    """The labels that were allowed to differ."""
    found = manifest.parity
    gap = figure(found.tie_gap)
    if not found.ties:
        return "every row got the same class from both"
    return (
        f"every row got the same class from both, but for {counted(found.ties, 'tie')}: rows whose two best "
        f"scores lie within {gap} for the pipeline, so that either class is as good"
    )


def _rows(manifest: Manifest) -> str:
    kinds = manifest.parity.rows.items()
    lines = ((_KINDS.get(kind) or short_name(kind.replace("_", " ")), f"{count:,}") for kind, count in kinds)
    return table("", ("rows", "number"), lines)
