"""The report about one version: one HTML document without scripts, which needs no other file.

Everything is drawn from the manifest of the version's file. A file without a card has the sections that need
none, and says how to get the others.
"""

from html import escape

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.card import (
    classes,
    columns,
    comparison,
    features,
    origin,
    proof,
    quality,
    targets,
    weak,
)
from unpickled.server.card.parts import below, paragraph, section
from unpickled.server.card.style import STYLE
from unpickled.server.card.version import Version
from unpickled.server.quote import counted
from unpickled.server.report import page


def html(version: Version, against: int | None = None, other: Manifest | None = None) -> str:
    """The whole document.

    Args:
        version: The version that is drawn.
        against: The number of a version to set beside it; by default those that it was compared with.
        other: The manifest of that version, which may have the comparison instead.
    """
    manifest = version.manifest
    content = "\n".join(
        filter(
            None,
            [
                _head(version),
                _beside(version, against, other),
                _quality(manifest),
                _reasons(manifest),
                _weak(manifest),
                _data(manifest),
                section("Parity with the fitted pipeline", proof.parity(manifest), follows=True),
                _origin(version),
            ],
        )
    )
    return page.html(version.title, STYLE, content)


def _head(version: Version) -> str:
    manifest, training = version.manifest, version.manifest.training
    source = f" from {training.data}" if training.data else ""
    rows = f", fitted on {counted(training.rows, 'row')}" if training.rows else ""
    return "\n".join(
        [
            paragraph(f"exported {manifest.created}{source}{rows}"),
            paragraph(quality.verdict(manifest), "lead"),
            quality.figures(manifest),
            _without_card(manifest),
        ]
    )


def _without_card(manifest: Manifest) -> str:
    if manifest.card is not None:
        return ""
    return paragraph(
        "this file has no card: it was exported by an earlier release, or without true answers. Curves, "
        "calibration, importances, dependences and slices are therefore missing. To get them, train it again "
        "with unpickled train, or export the pipeline again with y, or with held_out and held_out_y",
        "caution",
    )


def _quality(manifest: Manifest) -> str:
    card = manifest.card
    on = "" if card is None else f" on {card.rows:,} {'held-out' if card.held_out else 'given'} rows"
    notes = "".join(paragraph(note, "note") for note in card.notes) if card else ""
    is_classifier = bool(card.classes) if card else manifest.training.metrics is not None
    drawn = classes.quality(manifest) if is_classifier else targets.quality(manifest)
    return section(f"Quality{on}", drawn, below("Remarks", notes), follows=True) if drawn else ""


def _reasons(manifest: Manifest) -> str:
    card = manifest.card
    if card is None:
        return ""
    return section("How it decides", features.importances(card), features.dependences(manifest, card))


def _weak(manifest: Manifest) -> str:
    return section("Where it is worst", weak.slices(manifest.card), follows=True) if manifest.card else ""


def _data(manifest: Manifest) -> str:
    training = manifest.training
    order = [each.feature for each in manifest.card.importances] if manifest.card else []
    rows = manifest.reference.rows if manifest.reference else training.rows
    counts = [counted(len(manifest.features), "column"), *([counted(rows, "training row")] if rows else [])]
    note = (
        "The area of a bar is its share of the training rows, gray bars are missing values; no bar is of "
        f"fewer than ten rows.{' The most important columns come first.' if order else ''}"
    )
    digest = escape(training.fingerprint or "")
    return section(
        "Data card",
        paragraph(" and ".join(counts)),
        *map(paragraph, columns.unused(manifest)),
        f'<p class="note">The sha256 of the training table is <code>{digest}</code></p>' if digest else "",
        f'<p class="note">{note}</p>',
        columns.columns(manifest, order),
    )


def _origin(version: Version) -> str:
    training = version.manifest.training
    return section(
        "How it was made, and what it costs",
        origin.cost(version),
        origin.curve(training.curve),
        origin.steps(training),
        origin.recipe(version.manifest.recipe),
        below("Origin", origin.facts(version)),
    )


def _beside(version: Version, against: int | None, other: Manifest | None) -> str:
    """The comparisons with other versions, or with the one that is asked for."""
    found = [each for each in version.manifest.comparisons if against in (None, each.version)]
    if against is not None and other is not None and not found:
        theirs = [each for each in other.comparisons if each.version == version.number]
        found = [comparison.mirrored(each, against) for each in theirs]
    if not found and against is not None:
        return section(f"Beside version {against}", _not_compared(version, against))
    return "\n".join(comparison.section(each, version.number) for each in found[:1])


def _not_compared(version: Version, against: int) -> str:
    if against == version.number:
        return paragraph(
            f"version {against} is the one that this report is about: set another one beside it", "caution"
        )
    return paragraph(
        f"versions {version.number} and {against} were not compared. Versions are compared at the export of "
        "the later one, on the rows held out from it, as both have to answer the same rows: export it again "
        "with held-out rows while the other one is in the models folder",
        "caution",
    )
