"""Tables of a model as a regular expression: what JSON Schema can say of text.

The dialect is that of ECMA-262. Fewer tables match than are answered: columns in the model's order, plain
decimals, categories that need no quotes unless the model knows them.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from unpickled.server.artifact.manifest import Feature, Manifest

_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}/]")
_END = r"\r?\n"


def table(manifest: Manifest, header: bool) -> str:
    """Rows below a header, which may be left out unless ``header``."""
    first = f"{_literal(feature.name for feature in manifest.features)}{_END}"
    row = _row(manifest)
    return f"^{first if header else f'({first})?'}{row}({_END}{row})*({_END})?$"


def example(manifest: Manifest, rows: Sequence[Sequence[Any]]) -> str:
    """Such a table with these rows."""
    return _written([[feature.name for feature in manifest.features], *rows])


def _row(manifest: Manifest) -> str:
    """One cell per feature; many of one kind are counted, not repeated."""
    whole = {name for tensor in manifest.inputs if tensor.dtype == "int64" for name in tensor.features}
    alone = len(manifest.features) == 1
    cells = [_cell(feature, feature.name in whole, alone) for feature in manifest.features]
    *others, last = cells
    runs = [(cell, len(list(run))) for cell, run in groupby(others)]
    return "".join(f"({cell},)" + (f"{{{count}}}" if count > 1 else "") for cell, count in runs) + last


def _cell(feature: Feature, whole: bool, alone: bool) -> str:
    found = _category(feature) if feature.kind == "category" else _number(feature, whole)
    # An empty cell of its own is a blank line, which is none.
    return f"({found})?" if feature.missing and not alone else f"({found})"


def _category(feature: Feature) -> str:
    if not feature.closed:
        return r'[^",\r\n]+'
    return "|".join(_literal([category]) for category in feature.categories if category)


def _number(feature: Feature, whole: bool) -> str:
    """Decimals with as many digits as the range has room for; else a typical one."""
    fraction = "" if whole else r"(\.[0-9]+)?"
    if feature.lowest is None and feature.highest is None:
        return f"-?[0-9]+{fraction}"
    lowest = -1e9 if feature.lowest is None else feature.lowest
    highest = 1e9 if feature.highest is None else feature.highest
    digits = max((count for count in range(1, 10) if 10**count <= highest), default=0)
    if not digits or lowest > 0:
        return _SPECIAL.sub(r"\\\g<0>", repr(feature.median))
    sign = "-?" if -(10**digits) >= lowest else ""
    return f"{sign}[0-9]{{1,{digits}}}{fraction}"


def _literal(cells: Iterable[str]) -> str:
    return _SPECIAL.sub(r"\\\g<0>", _written([list(cells)]).removesuffix("\n"))


def _written(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
