"""The page of a report: one HTML document without scripts, which needs no other file.

Its colors are those of CSS; light and dark follow the reader's system.
"""

import re
from html import escape

from unpickled.server.quote import printable

# A time in UTC as reports write it; a person needs no seconds.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[\d.]+(?:\+00:00|Z)")

CSS = """
:root { color-scheme: light dark; --ground: #f7f6f2; --panel: #fff; --ink: #20251f; --muted: #5f675d;
  --line: #e3e1d9; --edge: #8b9187; --now: #2f7d4f; --trained: #b9cdbf; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #121512; --panel: #1a1e1a; --ink: #e6eae3;
  --muted: #9ca598; --line: #2c322c; --edge: #6d766b; --now: #5fb57f; --trained: #3a4a3f;
  --wrong: #ff9187; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .2rem; }
h1, h2, h3, p { overflow-wrap: anywhere; } p { margin: .2rem 0; }
"""


def html(title: str, style: str, content: str) -> str:
    """A whole document.

    Args:
        title: Text.
        style: The rules of CSS for the content, beside those above.
        content: HTML.
    """
    title = escape(printable(title))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{CSS}{style}</style>
</head>
<body>
<h1>{title}</h1>
{content}
</body>
</html>
"""


def framed(document: str, title: str) -> str:
    """A whole document as an element of another page, such as a notebook, whose styles stay outside it.

    Scripts do not run in the frame, though the document has none: whatever its texts hold stays text.
    """
    return (
        f'<iframe title="{escape(printable(title), quote=True)}" sandbox loading="lazy" '
        'style="width: 100%; height: 40rem; border: 1px solid #8b9187; border-radius: 8px" '
        f'srcdoc="{escape(document, quote=True)}"></iframe>'
    )


def sentence(text: str) -> str:
    """A remark of a report as HTML: with a capital letter, a full stop, and times for people.

    Example:
        >>> sentence("counting began 2026-11-30T00:02:41+00:00")
        'Counting began 2026-11-30 00:02 UTC.'
    """
    told = _TIME.sub(r"\1 \2 UTC", text)
    return escape(f"{told[:1].upper()}{told[1:].removesuffix('.')}.")
