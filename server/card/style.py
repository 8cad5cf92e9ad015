"""The rules of CSS for a report, on a screen and on paper."""

from unpickled.server.report.strip import STYLE as STRIPS
from unpickled.server.report.table import STYLE as TABLES

_LIGHT = ("2f7d4f", "c2571a", "3b5bb5", "a0307a", "8a6d00", "00808a", "7a4bc2", "6b4f3a")
_DARK = ("5fb57f", "f0944d", "8aa4f0", "e07fbc", "d1b13c", "4fc1cb", "b494f0", "c4a48e")
# Lines are told apart by their dashes too, for those who see few colors.
_DASHES = ("none", "8 3", "2 3", "8 3 2 3", "12 3", "4 2", "1 2", "10 3 1 3 1 3")


def _colors(colors: tuple[str, ...]) -> str:
    return " ".join(f"--c{place}: #{each};" for place, each in enumerate(colors))


def _kinds() -> str:
    return "\n".join(
        f".line.c{place} {{ stroke: var(--c{place}); stroke-dasharray: {dash}; }} "
        f".dot.c{place} {{ fill: var(--c{place}); }} "
        f".reach.c{place} {{ stroke: var(--c{place}); }} .chip.c{place} {{ background: var(--c{place}); }}"
        for place, dash in enumerate(_DASHES)
    )


_RULES = """
html { -webkit-text-size-adjust: 100%; }
h2 { margin: 2.4rem 0 .4rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
h4 { font-size: .95rem; font-weight: 600; margin: 0 0 .4rem; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; margin: .5rem 0; max-width: 60rem; }
.note, figcaption { color: var(--muted); font-size: .9rem; }
.note { max-width: 60rem; }
.caution { border-left: 3px solid var(--wrong); padding-left: .7rem; max-width: 60rem; }
.pictures { display: grid; gap: 1rem; margin: .6rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; padding: .9rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; min-width: 0; }
figure > svg { display: block; width: 100%; max-width: 27rem; height: auto; }
figcaption { margin-top: .4rem; overflow-wrap: anywhere; }
figure table { width: 100%; font-size: .87rem; } figure th, figure td { padding: .15rem .3rem; }
figure th { white-space: normal; vertical-align: bottom; }
svg text.axis { fill: var(--ink); }
svg text.name { fill: var(--ink); }
svg .frame { fill: none; stroke: var(--line); }
svg .grid { stroke: var(--line); } svg .tick { stroke: var(--edge); }
svg .diagonal { stroke: var(--muted); stroke-dasharray: 4 4; fill: none; }
svg .zero { stroke: var(--ink); }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .rows { fill: var(--trained); stroke: var(--edge); stroke-width: .7; }
svg .gap { fill: var(--muted); opacity: .45; }
svg .wide { stroke: var(--c0); stroke-width: 1.4; }
svg .half { stroke: var(--c0); stroke-width: 5; opacity: .5; }
.legend { list-style: none; margin: .2rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .1rem 1rem; }
.legend .sample { vertical-align: middle; margin-right: .4rem; }
.chip { display: inline-block; width: .75rem; height: .75rem; margin-right: .4rem; border-radius: 2px;
  vertical-align: -.05rem; }
.figures { display: flex; flex-wrap: wrap; gap: .4rem 2.4rem; margin: .8rem 0; padding: 0; list-style: none; }
.figures strong { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.figures small { color: var(--muted); display: block; font-size: .87rem; }
.columns { display: grid; gap: 1rem; margin: .8rem 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.columns > li { padding: .8rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; min-width: 0; }
.columns p { font-size: .87rem; overflow-wrap: anywhere; } .columns .kind { color: var(--muted); }
.columns svg { display: block; width: 100%; max-width: 24rem; height: auto; margin-top: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0;
  max-width: 60rem; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.steps { margin: .3rem 0; padding-left: 1.4rem; } .steps li { overflow-wrap: anywhere; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .87rem; overflow-wrap: anywhere; }
@media screen and (max-width: 52rem) {
  body { padding: .9rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
}
@page { margin: 14mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; background: none;
    -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  section { break-before: page; }
  section.follows, section:first-of-type { break-before: auto; }
  h2, h3, h4, .note { break-after: avoid; }
  figure, .columns > li, table, tr, .figures, dl > *, .steps li { break-inside: avoid; }
  .scroll { overflow: visible; }
  /* A line of a paragraph is never parted between two pages; rows of a grid are. */
  .pictures, .columns { display: block; orphans: 1; widows: 1; }
  .pictures > figure, .columns > li { display: inline-block; vertical-align: top; margin: 0 1% .7rem 0; }
  .pictures > figure { width: 48%; } .columns > li { width: 31.5%; }
  figure > svg { max-width: 19rem; }
}
"""

STYLE = f"""{TABLES}{STRIPS}
:root {{ {_colors(_LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_colors(_DARK)} }} }}
@media print {{ :root {{ color-scheme: light; --ground: #fff; --panel: #fff; --ink: #20251f; --muted: #5f675d;
  --line: #d6d4cb; --edge: #8b9187; --now: #2f7d4f; --trained: #b9cdbf; --wrong: #b3261e;
  {_colors(_LIGHT)} }} }}
{_RULES}{_kinds()}
"""
